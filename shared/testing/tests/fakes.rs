//! The fakes keep what the ports promise.

use std::future::ready;

use holdfast_testing::{
    contract::{copies::FakeCopying, media::FakeStage, media_target::FakeWayBack},
    fakes,
};

mod records {
    holdfast_testing::records_contract!(super::ready(super::fakes::FakeRecords::default()));
}

mod restores {
    holdfast_testing::restores_contract!(super::ready(super::fakes::FakeRecords::default()));
}

mod artifacts {
    holdfast_testing::artifacts_contract!(super::ready(super::fakes::FakeArtifacts::default()));
}

mod media {
    holdfast_testing::media_contract!(super::ready(super::FakeStage::new()));
}

mod copies {
    holdfast_testing::copies_contract!(super::ready(super::FakeCopying::new()));
}

mod media_target {
    holdfast_testing::media_target_contract!(super::ready(super::FakeWayBack::new()));
}

mod catalog_bucket {
    holdfast_testing::catalog_bucket_contract!(super::ready(super::fakes::FakeArtifacts::default()));
}

mod catalog_records {
    holdfast_testing::catalog_records_contract!(super::ready(super::fakes::FakeRecords::default()));
}
