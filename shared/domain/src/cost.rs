//! What backups cost: in Standard-IA, to make, and by the policy that keeps them.
//!
//! Prices are data with a date and a source ([`Prices`]); a region without prices has no cost, never a guessed one. Sums
//! are whole nano-dollars. Left out are free tiers and volume discounts, tax, the API, the table and the logs, the
//! key's monthly dollar, and reading backups back.

mod gibibytes;
mod making;
mod money;
mod policy;
mod prices;
mod storage;

pub(crate) use gibibytes::Gibibytes;
pub use making::{Architecture, MakingCost, Shape, parts};
pub use money::{BadAmount, NanoDollars};
pub use policy::{EarlyDiscard, PolicyCost};
pub use prices::{NoPrice, Prices, RegionPrices, Tariff};
pub use storage::{BackupsCost, GRACE_HOURS, MINIMUM_BYTES, MINIMUM_HOURS, MONTH_HOURS, Stored};
