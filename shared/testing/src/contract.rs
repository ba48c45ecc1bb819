//! What each port promises, case by case, run on the fakes and on the adapters alike.
//!
//! `records_contract!`, `restores_contract!`, `artifacts_contract!`, `copies_contract!`, `media_contract!`,
//! `media_target_contract!`, `catalog_bucket_contract!` and `catalog_records_contract!` make a test of each case of a suite, out
//! of an expression for the future of what is tested.

pub mod artifacts;
pub mod catalog;
pub mod copies;
pub mod media;
pub mod media_target;
pub mod records;
pub mod restores;

/// Makes a test of each named case of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($suite:ident, $subject:expr, $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let subject = $subject.await;
                $crate::contract::$suite::$case(&subject).await;
            }
        )*
    };
}
