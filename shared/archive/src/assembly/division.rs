use serde::{Deserialize, Serialize};

use super::{Numbering, Policy};
use crate::tar::{MemberNames, OutOfOrder, writer};

/// What a program gets done in a second, at the least: how long an archive takes is estimated by it.
///
/// The time of an object is the longest of what these say, for they go on side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes that are read and stored.
    pub bytes: u64,
    /// Objects that are opened.
    pub objects: u64,
    /// Bytes that S3 copies.
    pub copied_bytes: u64,
}

impl Pace {
    /// One function: its network carries 75 MB/s each way; 64 requests at once of some 60 ms each; 32 copies at once
    /// of some 60 MB/s each.
    pub const FUNCTION: Self = Self { bytes: 75_000_000, objects: 1_000, copied_bytes: 2_000_000_000 };

    /// How long an object of `size` bytes takes, in microseconds.
    pub fn microseconds(&self, policy: &Policy, size: u64) -> u64 {
        let (read, copied) =
            if policy.copies(size) { (policy.head_bytes, size - policy.head_bytes) } else { (size, 0) };
        let time = |amount: u64, each_second: u64| amount.saturating_mul(1_000_000) / each_second.max(1);
        time(read, self.bytes).max(time(copied, self.copied_bytes)).max(time(1, self.objects))
    }
}

/// A run of whole objects, in the order of their keys. It begins in a part of its own and ends in one, so that its bytes
/// do not depend on those of its neighbours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The key, relative to the prefix, behind which it begins; none for the first.
    pub after: Option<String>,
    /// Its last key; none for the last, which goes to the end of the listing.
    pub until: Option<String>,
    /// The first number of its parts.
    pub first: u32,
    /// The last number of its parts.
    pub last: u32,
    /// Objects that were listed.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the names of its members depend on.
    pub names: MemberNames,
}

/// An archive in stretches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Division {
    /// How large parts are, and which objects are copied.
    pub policy: Policy,
    /// The stretches, at least one.
    pub stretches: Vec<Stretch>,
    /// The number of the first part of what follows them, which is the manifest.
    pub end: u32,
}

/// The numbers of one upload do not suffice by this policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the parts of one upload do not suffice for the archive and its stretches")]
pub struct DoesNotFit;

/// Goes through a listing and divides it. Memory: the stretches.
#[derive(Debug)]
pub struct Divider {
    policy: Policy,
    pace: Pace,
    /// How long a stretch is to take, in microseconds.
    stretch: u64,
    names: MemberNames,
    numbering: Numbering,
    /// The stretch that is growing, and how long it takes so far.
    growing: Stretch,
    microseconds: u64,
    last_key: Option<String>,
    done: Vec<Stretch>,
}

impl Divider {
    /// The least bytes of a stretch, in heads: so that no more is filled up at its end than it has itself.
    const LEAST_HEADS: u64 = 1;

    /// Divides into stretches that take about `stretch` microseconds by `pace` each.
    pub fn new(policy: Policy, pace: Pace, stretch: u64) -> Self {
        let growing = Stretch {
            after: None,
            until: None,
            first: 1,
            last: 1,
            objects: 0,
            bytes: 0,
            names: MemberNames::new(),
        };
        Self {
            policy,
            pace,
            stretch,
            names: MemberNames::new(),
            numbering: Numbering::new(policy),
            growing,
            microseconds: 0,
            last_key: None,
            done: Vec::new(),
        }
    }

    /// Takes note of the next object, by its key as the archive has it and its size in bytes.
    pub fn add(&mut self, key: &str, size: u64) -> Result<(), OutOfOrder> {
        let time = self.pace.microseconds(&self.policy, size);
        let large_enough = self.growing.bytes >= Self::LEAST_HEADS * self.policy.head_bytes;
        if self.growing.objects > 0 && self.microseconds + time > self.stretch && large_enough {
            self.close();
        }
        let member = self.names.assign(key, size)?;
        self.numbering.plan_member(writer::header_bytes(&member.name, size), size);
        self.growing.objects += 1;
        self.growing.bytes = self.growing.bytes.saturating_add(size);
        self.microseconds = self.microseconds.saturating_add(time);
        self.last_key = Some(key.to_owned());
        Ok(())
    }

    /// Ends the listing. `manifest_bytes` is about how long the manifest will be.
    pub fn finish(mut self, manifest_bytes: u64) -> Result<Division, DoesNotFit> {
        self.last_key = None;
        self.close();
        let end = self.growing.first;
        let manifest = u32::try_from(2 * manifest_bytes / self.policy.part_bytes).unwrap_or(u32::MAX);
        if end.saturating_add(manifest) >= self.policy.max_parts {
            return Err(DoesNotFit);
        }
        Ok(Division { policy: self.policy, stretches: self.done, end })
    }

    fn close(&mut self) {
        let first = self.numbering.last_number(0).saturating_add(1);
        let next = Stretch {
            after: self.last_key.clone(),
            until: None,
            first,
            last: first,
            objects: 0,
            bytes: 0,
            names: self.names.clone(),
        };
        let mut done = std::mem::replace(&mut self.growing, next);
        done.last = first - 1;
        done.until.clone_from(&self.last_key);
        self.done.push(done);
        self.numbering = Numbering::continuing(self.policy, MemberNames::new(), first);
        self.microseconds = 0;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn divided(policy: Policy, objects: &[(String, u64)], seconds: u64) -> Result<Division, DoesNotFit> {
        let mut divider = Divider::new(policy, Pace::FUNCTION, seconds * 1_000_000);
        for (key, size) in objects {
            divider.add(key, *size).unwrap();
        }
        divider.finish(objects.len() as u64 * 800)
    }

    #[rstest]
    #[case::small(20_000, 1 << 14, 20)]
    #[case::middling(3_000, 5 * MIB, 20)]
    #[case::large(2_000, 512 * MIB, 20)]
    fn stretches_cover_the_listing_and_keep_their_numbers_apart(
        #[case] count: u64,
        #[case] size: u64,
        #[case] seconds: u64,
    ) {
        let objects: Vec<_> = (0..count).map(|number| (format!("{number:08}"), size)).collect();
        let Division { stretches, end, .. } = divided(Policy::LADDER[0], &objects, seconds).unwrap();
        let total: u64 =
            objects.iter().map(|(_, size)| Pace::FUNCTION.microseconds(&Policy::LADDER[0], *size)).sum();
        let about = total.div_ceil(seconds * 1_000_000);
        assert!(
            (about..=about + about / 10 + 1).contains(&(stretches.len() as u64)),
            "{} for {about}",
            stretches.len()
        );
        assert_eq!(stretches.iter().map(|one| one.objects).sum::<u64>(), count);
        let (mut after, mut first) = (None, 1);
        for stretch in &stretches {
            assert_eq!((&stretch.after, stretch.first), (&after, first));
            assert!(stretch.last >= stretch.first);
            (after, first) = (stretch.until.clone(), stretch.last + 1);
        }
        assert_eq!((after, first), (None, end), "the last one is open, and the manifest follows");
    }

    #[test]
    fn what_needs_too_many_numbers_is_left_to_another_policy() {
        let objects: Vec<_> = (0..8_000).map(|number| (format!("{number:08}"), 10 * MIB)).collect();
        assert_eq!(divided(Policy::LADDER[0], &objects, 20), Err(DoesNotFit));
        assert!(divided(Policy::LADDER[2], &objects, 20).is_ok());
    }

    #[test]
    fn the_names_of_a_stretch_know_the_files_before_it() {
        let policy = Policy::LADDER[0];
        let mut divider = Divider::new(policy, Pace::FUNCTION, 1);
        for (key, size) in [("a", 25 * MIB), ("a-", 25 * MIB), ("a/b", 25 * MIB)] {
            divider.add(key, size).unwrap();
        }
        let mut stretches = divider.finish(0).unwrap().stretches;
        let mut last = stretches.pop().unwrap();
        assert_eq!((last.after.as_deref(), stretches.len()), (Some("a-"), 2));
        assert!(last.names.assign("a/b", 1).unwrap().name.starts_with(".holdfast-escaped/"));
    }
}
