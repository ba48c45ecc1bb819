//! The rules of retention as laws over generated histories, as tables of dates, and against a second implementation.

mod forecasts;
mod held;
mod histories;
mod laws;
mod reference;
mod steady_state;
mod tables;
