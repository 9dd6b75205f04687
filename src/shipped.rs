//! The specs that the binary holds.

/// Name and text of every shipped spec, by name.
pub fn all() -> &'static [(&'static str, &'static str)] {
    include!(concat!(env!("OUT_DIR"), "/shipped.rs"))
}

/// The text of the shipped spec `name`.
pub fn text(name: &str) -> Option<&'static str> {
    let at = all().binary_search_by(|(n, _)| (*n).cmp(name)).ok()?;
    Some(all()[at].1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_specs_by_name() {
        assert!(super::text("huber").is_some_and(|t| t.contains("loss huber")));
        assert_eq!(super::text("hubber"), None);
        assert!(super::all().iter().all(|(n, t)| super::text(n) == Some(t)));
    }
}
