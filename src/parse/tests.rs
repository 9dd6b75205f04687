use super::*;

fn parse_text(text: &str) -> Result<File, Vec<Diagnostic>> {
    let mut sources = Sources::default();
    let file = sources.add("test.loss", text);
    parse(&sources, file)
}

#[test]
fn the_shipped_specs_parse() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/specs")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "loss")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let file =
                parse_text(&text).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
            assert!(file.loss.is_some());
        }
    }
}
