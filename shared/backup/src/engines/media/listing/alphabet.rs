//! Guesses where keys are: they decide how fast a listing is gone through, and never what is in it.

/// How many characters behind what two keys have in common are looked at.
const LOOKED_AT: usize = 8;

/// Characters that are remembered. Eight digits to a base of as many fit into 128 bits.
const MOST: usize = 4_000;

/// The characters that keys are made of, as far as they were seen: between `000` and `999` there are keys of digits, and
/// nobody looks for letters there.
#[derive(Debug, Clone, Default)]
pub(super) struct Alphabet(Vec<char>);

impl Alphabet {
    /// Takes note of the characters of a key.
    pub(super) fn learn(&mut self, key: &str) {
        for letter in key.chars() {
            if let Err(place) = self.0.binary_search(&letter)
                && self.0.len() < MOST
            {
                self.0.insert(place, letter);
            }
        }
    }

    /// A key about in the middle between two, of which the second may be the end of all. None if there is not enough room
    /// between them to say.
    pub(super) fn middle(&self, after: &str, until: Option<&str>) -> Option<String> {
        let common = common(after, until);
        let (from, to) = (self.place(&after[common..]), self.place_or_end(until, common));
        let mut middle = from + to.checked_sub(from)? / 2;
        let mut digits = [0; LOOKED_AT];
        for digit in digits.iter_mut().rev() {
            (*digit, middle) = (usize::try_from(middle % self.base()).unwrap_or(0), middle / self.base());
        }
        let mut middle = after[..common].to_owned();
        for digit in digits.into_iter().take_while(|digit| *digit > 0) {
            let Some(letter) = self.0.get(digit - 1) else {
                // Behind whatever goes on with a letter that was seen.
                middle.push(char::from_u32(u32::from(*self.0.last()?) + 1)?);
                break;
            };
            middle.push(*letter);
        }
        (middle.as_str() > after && until.is_none_or(|until| middle.as_str() < until)).then_some(middle)
    }

    /// How many times as much there is between the last two keys as between the first two, at a guess: infinitely many times if
    /// the first two cannot be told apart.
    pub(super) fn times(&self, first: &str, second: &str, until: Option<&str>) -> f64 {
        let common = common(first, until);
        // Rounded to 53 bits, which is as good as any other guess.
        #[expect(clippy::cast_precision_loss, reason = "a guess")]
        let width = |from: u128, to: u128| to.saturating_sub(from) as f64;
        let (from, to) = (self.place(&first[common..]), self.place_or_end(until, common));
        let at = second.get(common..).map_or(to, |second| self.place(second));
        let (passed, left) = (width(from, at), width(at, to));
        if passed == 0.0 { f64::INFINITY } else { left / passed }
    }

    /// A digit is 0 where a key has ended, and one more than that of any letter at the end of all.
    fn base(&self) -> u128 {
        self.0.len() as u128 + 2
    }

    fn place(&self, key: &str) -> u128 {
        let mut letters = key.chars();
        (0..LOOKED_AT).fold(0, |place, _| {
            let digit =
                letters.next().map_or(0, |letter| self.0.partition_point(|known| *known < letter) + 1);
            place * self.base() + digit as u128
        })
    }

    fn place_or_end(&self, until: Option<&str>, common: usize) -> u128 {
        match until {
            Some(until) => self.place(&until[common..]),
            None => (1..LOOKED_AT).fold(self.base() - 1, |place, _| place * self.base()),
        }
    }
}

/// How many bytes two keys have in common, in whole characters. The end of all has nothing in common with any.
fn common(key: &str, until: Option<&str>) -> usize {
    let pairs = key.char_indices().zip(until.unwrap_or("").chars());
    let apart = pairs.clone().find(|((_, one), other)| one != other);
    apart.map_or_else(|| pairs.map(|((_, letter), _)| letter.len_utf8()).sum(), |((at, _), _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn alphabet(keys: &[&str]) -> Alphabet {
        let mut alphabet = Alphabet::default();
        for key in keys {
            alphabet.learn(key);
        }
        alphabet
    }

    #[rstest]
    #[case::digits("000", Some("999"), "4")]
    #[case::to_the_end("m/12", None, "m5")]
    #[case::below_a_folder("m/100", Some("m/300"), "m/2")]
    #[case::behind_every_letter("m/thumbs/0", Some("m/tm"), "m/thv")]
    #[case::behind_a_key_that_begins_it("m/", Some("m/8"), "m/3")]
    fn a_middle_is_made_of_letters_that_were_seen(
        #[case] after: &str,
        #[case] until: Option<&str>,
        #[case] begins: &str,
    ) {
        let seen = if after.contains("thumbs") { "m/thumbs/0123456789" } else { "m/0123456789" };
        let middle = alphabet(&[seen]).middle(after, until).unwrap();
        assert!(middle.starts_with(begins), "{middle}");
    }

    #[test]
    fn how_much_is_left_is_guessed_by_what_was_passed() {
        let alphabet = alphabet(&["m/0123456789"]);
        let times = alphabet.times("m/100", "m/200", Some("m/500"));
        assert!((2.9..3.1).contains(&times), "{times}");
        assert!(alphabet.times("m/0000000000", "m/0000000001", Some("n")).is_infinite());
        let nothing = alphabet.times("m/1", "m/2", Some("m/2"));
        assert!(nothing < 0.1, "{nothing}");
    }

    proptest! {
        #[test]
        fn a_middle_is_between(
            keys in prop::collection::vec(any::<String>(), 0..4), one in ".{0,12}", other in prop::option::of(".{0,12}"),
        ) {
            let alphabet = alphabet(&keys.iter().map(String::as_str).collect::<Vec<_>>());
            let (after, until) = match &other {
                Some(other) if *other < one => (other, Some(one.as_str())),
                other => (&one, other.as_deref()),
            };
            if let Some(middle) = alphabet.middle(after, until) {
                prop_assert!(middle > *after && until.is_none_or(|until| *middle < *until), "{}", middle);
            }
        }
    }
}
