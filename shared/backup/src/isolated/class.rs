//! Which class a temporary instance has: the smallest, which costs least for the hour it is there.

/// Sizes, from small to large.
const SIZES: [&str; 7] = ["micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge"];

/// Families, from those that cost least for their size. <https://aws.amazon.com/rds/instance-types/>
const FAMILIES: [&str; 15] =
    ["t4g", "t3", "m6g", "m7g", "m8g", "m5", "m6i", "m7i", "r6g", "r7g", "r8g", "r5", "r6i", "r7i", "r8gd"];

/// The smallest of these classes, each as `db.t4g.micro`, that is of a family and a size above.
pub(super) fn smallest(classes: &[String]) -> Option<&String> {
    classes.iter().filter_map(|class| Some((rank(class)?, class))).min().map(|(_, class)| class)
}

fn rank(class: &str) -> Option<(usize, usize)> {
    let (family, size) = class.strip_prefix("db.")?.split_once('.')?;
    let size = SIZES.iter().position(|known| *known == size)?;
    Some((size, FAMILIES.iter().position(|known| *known == family)?))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["db.r6g.large", "db.t3.micro", "db.t4g.micro", "db.m7g.large"], Some("db.t4g.micro"))]
    #[case(&["db.t4g.medium", "db.t3.small"], Some("db.t3.small"))]
    #[case(&["db.r6g.large", "db.serverless", "db.x2g.large"], Some("db.r6g.large"))]
    #[case(&["db.serverless", "t4g.micro"], None)]
    fn the_smallest_class_is_taken(#[case] offered: &[&str], #[case] taken: Option<&str>) {
        let offered: Vec<String> = offered.iter().map(|class| (*class).to_owned()).collect();
        assert_eq!(smallest(&offered).map(String::as_str), taken);
    }
}
