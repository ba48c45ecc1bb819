//! How far an archive has come, drawn.

use holdfast_backup::upload::Advance;
use holdfast_domain::backup::Phase;
use indicatif::ProgressBar;

use super::counted::{Count, Counted};
use crate::{moment, table::size};

/// Shows how far the archive of `media` has come.
pub(super) fn show<S>(bar: &ProgressBar, media: &Counted<S>, so_far: Advance) {
    let seconds = bar.elapsed().as_secs().max(1);
    let Count { files, bytes, opened, listed_all } = media.count();
    if !listed_all {
        // How much there is shows only when all is listed.
        bar.set_message(format!("listing: {files} files of {}", size(bytes)));
        return;
    }
    bar.set_length(bytes.max(1));
    bar.set_position(so_far.bytes.min(bytes));
    let mut words = format!(
        "{}, {}/s, {} of {files} files",
        size(so_far.bytes),
        size(so_far.bytes / seconds),
        opened.min(files)
    );
    if so_far.phase == Phase::Verifying {
        words = format!("{words}, completing");
    } else if let Some(left) = (bytes.saturating_sub(so_far.bytes) * seconds).checked_div(so_far.bytes) {
        words = format!("{words}, {} left", moment::span(left));
    }
    bar.set_message(words);
}
