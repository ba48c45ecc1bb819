use super::{Numbering, Policy};
use crate::{
    multipart::MAX_OBJECT_BYTES,
    tar::{MemberNames, writer},
};

/// Of 10,000 numbers this many are planned with, so that some are left if the manifest is longer than estimated.
const PLANNED_PARTS_PER_MILLE: u64 = 950;

/// What the manifest says about an object besides its key and its name, at a guess, in bytes.
const MANIFEST_LINE_BYTES: u64 = 768;

/// The archive cannot be one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// It needs more parts than an upload has, by any policy.
    #[error(
        "the {objects} objects with {bytes} bytes do not fit into the {max_parts} parts of one upload: divide them between \
         several storage services, such as one for each prefix"
    )]
    Parts {
        /// How many objects were listed.
        objects: u64,
        /// Their bytes.
        bytes: u64,
        /// The parts that an upload has.
        max_parts: u32,
    },
    /// It would be larger than an object can be.
    #[error(
        "the archive of the {objects} objects would have about {archive_bytes} bytes, and an object has {MAX_OBJECT_BYTES} \
         at the most: divide them between several storage services, such as one for each prefix"
    )]
    Bytes {
        /// How many objects were listed.
        objects: u64,
        /// The bytes of the archive, at a guess.
        archive_bytes: u64,
    },
}

/// Goes through a listing, and chooses the policy by which its archive fits into one upload. Its memory does not grow.
///
/// Of a listing that is gone through in several places at a time, each place has one; [`Survey::append`] puts them together.
#[derive(Debug, Clone)]
pub struct Survey {
    numberings: Vec<(Policy, Numbering)>,
    names: MemberNames,
    objects: u64,
    bytes: u64,
    tar_bytes: u64,
    manifest_bytes: u64,
}

impl Survey {
    /// A survey that has seen nothing, with a choice of `policies`, the best first.
    pub fn new(policies: &[Policy]) -> Self {
        let numberings = policies.iter().map(|policy| (*policy, Numbering::new(*policy))).collect();
        Self { numberings, names: MemberNames::new(), objects: 0, bytes: 0, tar_bytes: 0, manifest_bytes: 0 }
    }

    /// Takes note of the next object, by its key as the archive has it and its size in bytes.
    pub fn add(&mut self, key: &str, size: u64) {
        // A key out of order is reported when it is archived.
        let member = self.names.assign(key, size);
        let header_bytes = member.map_or(0, |member| writer::header_bytes(&member.name, size));
        for (_, numbering) in &mut self.numberings {
            numbering.plan_member(header_bytes, size);
        }
        let padding = writer::padding(size).len() as u64;
        self.tar_bytes =
            self.tar_bytes.saturating_add(header_bytes).saturating_add(size).saturating_add(padding);
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.manifest_bytes += MANIFEST_LINE_BYTES + 2 * key.len() as u64;
    }

    /// Takes note of all that `later` has seen. It was begun anew behind the objects that this one has seen, with the same
    /// choice. Only of a file among its own folders, of which each has seen one, nobody takes note: its name is longer.
    pub fn append(&mut self, later: &Self) {
        for ((_, numbering), (_, later)) in self.numberings.iter_mut().zip(&later.numberings) {
            numbering.append(later);
        }
        self.objects += later.objects;
        self.bytes = self.bytes.saturating_add(later.bytes);
        self.tar_bytes = self.tar_bytes.saturating_add(later.tar_bytes);
        self.manifest_bytes += later.manifest_bytes;
    }

    /// The bytes of all objects so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How long the manifest will be, at a guess, in bytes.
    pub fn manifest_bytes(&self) -> u64 {
        self.manifest_bytes
    }

    /// The first policy by which the archive fits.
    pub fn choose(&self) -> Result<Policy, TooLarge> {
        let archive_bytes = self.tar_bytes.saturating_add(self.manifest_bytes);
        if archive_bytes > MAX_OBJECT_BYTES {
            return Err(TooLarge::Bytes { objects: self.objects, archive_bytes });
        }
        let fits = |(policy, numbering): &&(Policy, Numbering)| {
            let planned = u64::from(numbering.last_number(self.manifest_bytes));
            planned * 1000 <= u64::from(policy.max_parts) * PLANNED_PARTS_PER_MILLE
        };
        self.numberings.iter().find(fits).map(|(policy, _)| *policy).ok_or(TooLarge::Parts {
            objects: self.objects,
            bytes: self.bytes,
            max_parts: self.numberings.first().map_or(0, |(policy, _)| policy.max_parts),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    /// How many objects of which size, and the step of the ladder that holds them.
    #[rstest]
    #[case::nothing(0, 0, Some(0))]
    #[case::small_files(40_000, 16 * KIB, Some(0))]
    #[case::middling_files(3_000, 5 * MIB, Some(0))]
    #[case::large_files(20, 512 * MIB, Some(0))]
    #[case::a_million(1_000_000, KIB, Some(0))]
    #[case::many_just_large_enough_to_copy(4_000, 10 * MIB, Some(0))]
    #[case::more_of_them_are_read(8_000, 10 * MIB, Some(2))]
    #[case::a_hundred_gib_of_small_files(100 * 1_024, MIB, Some(1))]
    #[case::two_hundred_of_them(200 * 1_024, MIB, Some(3))]
    #[case::three_hundred(300 * 1_024, MIB, Some(4))]
    #[case::whatever_they_are(4_700, 64 * MIB, Some(0))]
    #[case::large_enough_to_copy_but_too_many(6_000, 40 * MIB, Some(4))]
    #[case::terabytes(1_000, 5 * GIB, Some(0))]
    #[case::five_tib_in_one(1, 5 * 1_024 * GIB, Some(0))]
    #[case::more_than_there_are_parts(20_000, 100 * MIB, None)]
    fn the_first_step_that_holds_the_listing_is_chosen(
        #[case] objects: u64,
        #[case] size: u64,
        #[case] step: Option<usize>,
    ) {
        let mut survey = Survey::new(&Policy::LADDER);
        for number in 0..objects {
            survey.add(&format!("uploads/{number:08}.jpg"), size);
        }
        assert_eq!(survey.bytes(), objects * size);
        let chosen = survey.choose();
        assert_eq!(chosen.ok(), step.map(|step| Policy::LADDER[step]), "{chosen:?}");
    }

    #[test]
    fn what_does_not_fit_says_what_to_do() {
        let error = TooLarge::Parts { objects: 2, bytes: 3, max_parts: 10_000 }.to_string();
        assert!(error.contains("2 objects with 3 bytes") && error.contains("divide them"), "{error}");
    }

    /// 9,500 parts of 5 GiB are more.
    #[rstest]
    #[case::just_fits(9, 5 << 40, true)]
    #[case::one_more(10, 5 << 40, false)]
    #[case::impossible(3, u64::MAX / 2, false)]
    fn what_no_object_can_hold_is_refused(#[case] objects: u64, #[case] size: u64, #[case] fits: bool) {
        let mut survey = Survey::new(&Policy::LADDER);
        for number in 0..objects {
            survey.add(&number.to_string(), size);
        }
        match survey.choose() {
            Ok(_) => assert!(fits),
            Err(error) => {
                assert!(matches!(error, TooLarge::Bytes { .. }) && !fits, "{error:?}");
                assert!(error.to_string().contains("50000000000000 at the most: divide them"), "{error}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_survey_in_pieces_is_that_of_the_whole(
            sizes in prop::collection::vec(
                prop_oneof![0..100 * KIB, MIB..80 * MIB, 60 * MIB..9 * GIB], 0..60,
            ),
            cuts in prop::collection::vec(0..60_usize, 0..5),
        ) {
            let objects: Vec<_> = sizes.iter().enumerate().map(|(at, size)| (format!("{at:04}"), *size)).collect();
            let survey = |objects: &[(String, u64)]| {
                let mut survey = Survey::new(&Policy::LADDER);
                for (key, size) in objects {
                    survey.add(key, *size);
                }
                survey
            };
            let (whole, mut pieces, mut rest) = (survey(&objects), survey(&[]), &objects[..]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.append(&survey(piece));
                rest = after;
            }
            pieces.append(&survey(rest));
            for ((_, whole), (_, pieces)) in whole.numberings.iter().zip(&pieces.numberings) {
                prop_assert_eq!(pieces.last_number(MIB), whole.last_number(MIB));
            }
            prop_assert_eq!(
                (pieces.objects, pieces.bytes, pieces.tar_bytes, pieces.manifest_bytes),
                (whole.objects, whole.bytes, whole.tar_bytes, whole.manifest_bytes)
            );
        }
    }
}
