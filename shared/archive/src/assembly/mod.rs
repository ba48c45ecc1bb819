//! The layout of a tar that S3 puts together itself: which bytes go through this program, which are copied inside S3, and
//! in which parts of one multipart upload.
//!
//! Small objects are read and stand in *literal* parts, with the headers and paddings of everything. A large object's
//! first [`Policy::head_bytes`] are read too, which makes the literal part before it long enough for S3; the rest of it is
//! copied by S3, in parts of its own. So the bytes that cross this program are those of the small objects, and as many
//! mebibytes of each large one as the shortest part has.
//!
//! An upload has 10,000 parts at most. [`Survey`] goes through the listing once and chooses the [`Policy`] by which they
//! suffice; [`Numbering`] goes through it again and says beforehand which numbers the copies of each large object take,
//! so that copies run while what stands before them in the tar is still being read. [`LiteralParts`] keeps within the
//! numbers that are left to the bytes in between, whatever has become of the objects since they were listed, and leaves none of
//! them out: [S3 asks that the numbers of an upload with checksums are
//! consecutive](https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html). What stood for objects that have
//! vanished is filled in.
//!
//! What is too much for one program at a time is divided into stretches ([`Divider`]): runs of whole objects whose bytes do
//! not depend on each other, each with numbers of its own.

mod division;
mod numbering;
mod parts;
mod policy;
mod survey;

pub use division::{Divider, Division, DoesNotFit, Pace, Stretch};
pub use numbering::{Entry, Numbering};
pub use parts::{LiteralParts, Outgrown};
pub use policy::{MAX_COPY_BYTES, Policy};
pub use survey::{Survey, TooLarge};
