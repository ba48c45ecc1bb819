//! The picture as SVG: letters as well as colours, on light and dark pages, without anything to load.

use std::fmt::{self, Write as _};

use chrono::{Datelike, NaiveDate};

use super::{Calendar, Mark, Row};
use crate::backup::Label;

/// Pixels from the left edge to the first day, between days, between months, and of a mark.
const LEFT: u32 = 76;
const DAY: u32 = 20;
const MONTH: u32 = 22;
const MARK: u32 = 17;
const TOP: u32 = 56;
const WIDTH: u32 = LEFT + 31 * DAY + 12;

/// White letters on these have a contrast of at least 4.5 : 1; the grey can be read on white and on black.
const STYLE: &str = "\
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#6e7781}
.title{font-size:14px;font-weight:bold}
.letter{fill:#fff;font-weight:bold;text-anchor:middle}
.number{text-anchor:middle}
.daily{fill:#1a7f37}.weekly{fill:#0969da}.monthly{fill:#8250df}.on-demand{fill:#9a6700}
.discarded{fill:#8c959f;opacity:.55}
.hold{fill:none;stroke:#24292f;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#9198a1}.letter{fill:#fff}.hold{stroke:#f0f6fc}}
";

impl Calendar {
    /// The picture as a complete SVG document, headed by `title`.
    ///
    /// Each kept backup has a letter, a colour and a tooltip; a held one has a frame around it, what was discarded is a
    /// faint dot. A screen reader gets the title and a sentence with the counts.
    pub fn svg(&self, title: &str) -> String {
        let mut svg = String::new();
        // Writing to a string never fails.
        let _ = self.draw(&mut svg, &escaped(title));
        svg
    }

    fn draw(&self, out: &mut String, title: &str) -> fmt::Result {
        let rows = self.rows();
        let bottom = TOP + MONTH * u32::try_from(rows.len()).unwrap_or(u32::MAX / MONTH - TOP);
        let (legend, legend_height) = self.legend_entries(bottom + 12);
        let height = bottom + 12 + legend_height + 6;
        writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title description">"#
        )?;
        writeln!(out, r#"<title id="title">{title}</title>"#)?;
        writeln!(out, r#"<desc id="description">{}</desc>"#, self.description(&rows))?;
        writeln!(out, "<style>{STYLE}</style>")?;
        writeln!(out, r#"<text class="title" x="8" y="22">{title}</text>"#)?;
        for number in [1, 5, 10, 15, 20, 25, 30] {
            writeln!(out, r#"<text class="number" x="{}" y="{}">{number}</text>"#, middle(number), TOP - 8)?;
        }
        for (row, y) in std::iter::zip(&rows, (TOP..).step_by(MONTH as usize)) {
            match row {
                Row::Month(first) => self.month_row(out, *first, y)?,
                Row::Gap => writeln!(out, r#"<text x="8" y="{}">…</text>"#, y + 13)?,
            }
        }
        for (x, y, mark, text) in legend {
            match mark {
                Mark::Held(_) => draw_hold(out, x, y)?,
                mark => draw_mark(out, mark, x, y, None)?,
            }
            writeln!(out, r#"<text x="{}" y="{}">{text}</text>"#, x + MARK + 5, y + 13)?;
        }
        writeln!(out, "</svg>")
    }

    fn month_row(&self, out: &mut String, first: NaiveDate, y: u32) -> fmt::Result {
        writeln!(out, r#"<text x="8" y="{}">{:04}-{:02}</text>"#, y + 13, first.year(), first.month())?;
        let days = first.iter_days().take_while(|date| date.month() == first.month());
        for (date, mark) in days.filter_map(|date| Some((date, *self.days.get(&date)?))) {
            let tooltip = match mark {
                Mark::Discarded => None,
                Mark::Held(Some(label)) => Some(format!("{date}: {}, held", label.as_str())),
                mark => Some(format!("{date}: {}", mark.name())),
            };
            draw_mark(out, mark, middle(date.day()) - MARK / 2, y, tooltip.as_deref())?;
        }
        Ok(())
    }

    /// The entries of the legend with their places, and how high it is.
    fn legend_entries(&self, top: u32) -> (Vec<(u32, u32, Mark, String)>, u32) {
        let (mut x, mut y) = (8, top);
        let mut entries = Vec::new();
        for (mark, name, count) in self.legend() {
            let text = format!("{name} {count}");
            // A letter of this font is about 7.3 pixels wide.
            let width = MARK + 5 + 8 * u32::try_from(text.len()).unwrap_or(0);
            if x + width > WIDTH {
                (x, y) = (8, y + MONTH);
            }
            entries.push((x, y, mark, text));
            x += width + 16;
        }
        (entries, y + MONTH - top)
    }

    fn description(&self, rows: &[Row]) -> String {
        let mut text = match (rows.first(), self.days.last_key_value()) {
            (Some(Row::Month(first)), Some((last, _))) => {
                format!(
                    "What is kept of the days from {} to {last}, a row for each month:",
                    first.format("%Y-%m")
                )
            }
            _ => "Nothing is kept:".to_owned(),
        };
        for (index, (_, name, count)) in self.legend().enumerate() {
            let _ = write!(text, "{} {count} {name}", if index == 0 { "" } else { "," });
        }
        text + "."
    }
}

fn draw_mark(out: &mut String, mark: Mark, x: u32, y: u32, tooltip: Option<&str>) -> fmt::Result {
    let (class, letter) = match mark {
        Mark::Kept(Label::Daily) | Mark::Held(Some(Label::Daily)) => ("daily", 'D'),
        Mark::Kept(Label::Weekly) | Mark::Held(Some(Label::Weekly)) => ("weekly", 'W'),
        Mark::Kept(Label::Monthly) | Mark::Held(Some(Label::Monthly)) => ("monthly", 'M'),
        Mark::OnDemand | Mark::Held(None) => ("on-demand", 'O'),
        Mark::Discarded => {
            let (x, y) = (x + MARK / 2, y + MARK / 2);
            return writeln!(out, r#"<circle class="discarded" cx="{x}" cy="{y}" r="2"/>"#);
        }
    };
    write!(out, "<g>")?;
    if let Some(tooltip) = tooltip {
        write!(out, "<title>{tooltip}</title>")?;
    }
    write!(out, r#"<rect class="{class}" x="{x}" y="{y}" width="{MARK}" height="{MARK}" rx="3"/>"#)?;
    if let Mark::Held(_) = mark {
        draw_hold(out, x, y)?;
    }
    writeln!(out, r#"<text class="letter" x="{}" y="{}">{letter}</text></g>"#, x + MARK / 2 + 1, y + 13)
}

/// The frame around a mark.
fn draw_hold(out: &mut String, x: u32, y: u32) -> fmt::Result {
    let (x, y, size) = (x - 1, y - 1, MARK + 2);
    write!(out, r#"<rect class="hold" x="{x}" y="{y}" width="{size}" height="{size}" rx="4"/>"#)
}

/// The middle of a day's column.
fn middle(day: u32) -> u32 {
    LEFT + (day - 1) * DAY + DAY / 2
}

/// Text that can stand between tags. Characters XML has no way to write are replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push('\u{fffd}');
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn calendar() -> Calendar {
        Calendar::new([
            (date("2026-01-31"), Mark::Kept(Label::Monthly)),
            (date("2026-04-02"), Mark::Held(Some(Label::Weekly))),
            (date("2026-04-03"), Mark::OnDemand),
            (date("2026-04-04"), Mark::Discarded),
            (date("2026-04-05"), Mark::Kept(Label::Daily)),
        ])
    }

    #[test]
    fn every_mark_and_a_gap() {
        insta::assert_snapshot!(calendar().svg("shop"));
    }

    #[rstest]
    #[case("a <b> & \"c\"", "a &lt;b&gt; &amp; \"c\"")]
    #[case("]]>\u{1b}[2J", "]]&gt;\u{fffd}[2J")]
    fn a_title_is_text_whatever_it_holds(#[case] title: &str, #[case] written: &str) {
        let svg = calendar().svg(title);
        assert!(svg.contains(&format!(r#"<title id="title">{written}</title>"#)), "{svg}");
    }

    #[test]
    fn nothing_kept_is_said_in_words() {
        let svg = Calendar::default().svg("shop");
        assert!(svg.contains("Nothing is kept: 0 daily, 0 weekly, 0 monthly, 0 discarded."), "{svg}");
    }

    #[test]
    fn a_long_legend_goes_on_below() {
        let days = date("1990-01-01").iter_days().take(20_000);
        let marks = days.enumerate().map(|(index, date)| match index % 5 {
            0 => (date, Mark::Kept(Label::Daily)),
            1 => (date, Mark::Kept(Label::Weekly)),
            2 => (date, Mark::OnDemand),
            3 => (date, Mark::Held(None)),
            _ => (date, Mark::Discarded),
        });
        let (entries, height) = Calendar::new(marks).legend_entries(100);
        assert_eq!(height, 2 * MONTH);
        assert!(
            entries
                .iter()
                .all(|(x, _, _, text)| x + MARK + 5 + 7 * u32::try_from(text.len()).unwrap() <= WIDTH)
        );
    }

    #[test]
    fn each_kept_backup_has_a_letter_and_a_tooltip() {
        let svg = calendar().svg("shop");
        for tooltip in
            ["2026-01-31: monthly", "2026-04-02: weekly, held", "2026-04-03: on demand", "2026-04-05: daily"]
        {
            assert!(svg.contains(&format!("<title>{tooltip}</title>")), "{tooltip}");
        }
        assert_eq!(svg.matches("class=\"hold\"").count(), 2, "on the calendar and in the legend");
    }
}
