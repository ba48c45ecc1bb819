//! The fakes keep what the ports promise.

use std::future::ready;

use holdfast_testing::{contract::media::FakeStage, fakes};

mod records {
    holdfast_testing::records_contract!(super::ready(super::fakes::FakeRecords::default()));
}

mod artifacts {
    holdfast_testing::artifacts_contract!(super::ready(super::fakes::FakeArtifacts::default()));
}

mod media {
    holdfast_testing::media_contract!(super::ready(super::FakeStage::new()));
}
