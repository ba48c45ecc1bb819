//! S3: the bucket of backups, or any other that something is stored in, and the buckets that applications keep their files in.

mod artifacts;
mod catalog;
mod copy_source;
mod deletion;
mod disposition;
mod failure;
mod listed_key;
mod made;
mod media;
mod media_target;
mod multipart;
mod object_headers;
mod percent;
mod storing;
mod upload;
mod versions;

pub use artifacts::S3Artifacts;
pub use media::S3Media;
pub use media_target::S3MediaTarget;
pub use storing::Storing;
