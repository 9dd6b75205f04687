//! "Did you mean": the known name that is closest to one that is not.

/// The candidate that is most like `name`, if one is like it.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
        // A third of the letters may differ; a single letter says too little.
        let longest = name.chars().count().max(candidate.chars().count());
        let says_something = longest > 1 || distance == 0;
        if says_something
            && distance * 3 <= longest.max(3)
            && best.is_none_or(|(d, _)| distance < d)
        {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn finds_slips_only() {
        let known = ["sigmoid", "softplus", "sum", "target", "N"];
        assert_eq!(closest("sigmiod", known), Some("sigmoid"));
        assert_eq!(closest("targets", known), Some("target"));
        assert_eq!(closest("Sum", known), Some("sum"));
        assert_eq!(closest("lse", known), None);
        assert_eq!(closest("M", known), None);
        assert_eq!(closest("n", known), Some("N"));
    }
}
