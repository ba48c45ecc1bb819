//! S3: the bucket of backups, or any other that something is stored in, and the buckets that applications keep their files in.

mod artifacts;
mod copy_source;
mod disposition;
mod failure;
mod listed_key;
mod made;
mod media;
mod storing;
mod upload;
mod versions;

pub use artifacts::S3Artifacts;
pub use media::S3Media;
pub use storing::Storing;
