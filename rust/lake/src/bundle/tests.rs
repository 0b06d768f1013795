use std::fs;

use super::*;

fn bundle() -> Bundle {
    Bundle {
        data_ref: "local://b/c".into(),
        dim: 8,
        rotation_seed: 42,
        rerank_factor: 20,
        generation: Generation::Number(1),
        coding: Coding::new(Metric::L2Sq, 1),
        selection: None,
        source: None,
        forgotten: None,
        content: None,
        index: None,
        tags: Tags::default(),
    }
}

fn parse(text: &str) -> Result<Opened> {
    Bundle::parse(text, Path::new(FILE))
}

#[test]
fn the_file_begins_as_upstreams_does() {
    let json = bundle().to_json(None).unwrap();
    let expected = r#"{
  "format_version": 2,
  "data_ref": "local://b/c",
  "dim": 8,
  "rotation_seed": 42,
  "rerank_factor": 20,
  "generation": 1,
  "rvf_witness": "aaa52194b87ddea9b60b1df3c8cf6c39b489a6b172454c7ece8a66fffe61816f",
  "pii_policy": null,
  "lineage_id": null,
  "ruvector": {"#;
    assert!(json.starts_with(expected), "{json}");
    assert!(json.ends_with('}'));
}

#[test]
fn a_file_of_upstream_is_read() {
    let text = r#"{"format_version": 2, "data_ref": "iceberg://catalog/db/table", "dim": 384, "rotation_seed": 3735928559,
        "rerank_factor": 5, "generation": "01JCX7NK6G5R9G1YZ7QH", "pii_policy": "p", "lineage_id": null, "memory_class": "episodic",
        "rvf_witness": "6b1a75410b684054ec05c6c717a4e75204419722d5ce64e37ac1a2703c8e940b", "unknown": 1}"#;
    let opened = parse(text).unwrap();
    assert!(!opened.complete);
    assert_eq!(opened.bundle.generation, "01JCX7NK6G5R9G1YZ7QH".into());
    assert_eq!(opened.bundle.tags.memory_class.as_deref(), Some("episodic"));
}

#[test]
fn every_field_is_covered() {
    let mut full = bundle();
    full.content = Some(Content { rows: 3, schema: "s".into(), digest: "d".into() });
    full.index = Some(IndexFile { file: "index.rbpx".into(), bytes: 7, digest: "e".into() });
    full.tags.lineage_id = Some("job".into());
    let pieces = vec![crate::backend::Piece { name: "part-0".into(), rows: 3 }];
    full.source = Some(Source { vector: "embedding".into(), id: None, pieces });
    full.selection = Some("(n > 3)".into());
    full.forgotten = Some(IndexFile { file: "forgotten-1.json".into(), bytes: 5, digest: "f".into() });
    let json = full.to_json(None).unwrap();
    assert_eq!(parse(&json).unwrap().bundle, full);
    // Upstream's witness covers none of the last thirteen: a file tampered with like this would pass there.
    let changes = [
        ("(n > 3)", "(n > 2)"),
        ("forgotten-1", "forgotten-2"),
        ("part-0", "part-1"),
        ("embedding", "embeddong"),
        ("local://b/c", "local://b/d"),
        ("\"dim\": 8", "\"dim\": 9"),
        ("\"rotation_seed\": 42", "\"rotation_seed\": 43"),
        ("\"rerank_factor\": 20", "\"rerank_factor\": 21"),
        ("\"generation\": 1", "\"generation\": 2"),
        ("\"metric\": \"l2sq\"", "\"metric\": \"ip\""),
        ("\"bits\": 1", "\"bits\": 2"),
        ("fht-kac", "matrix"),
        ("\"rotation_generator\": 1", "\"rotation_generator\": 2"),
        ("\"rows\": 3", "\"rows\": 4"),
        ("\"digest\": \"d\"", "\"digest\": \"x\""),
        ("\"bytes\": 7", "\"bytes\": 8"),
        ("\"digest\": \"e\"", "\"digest\": \"x\""),
        ("\"lineage_id\": \"job\"", "\"lineage_id\": null"),
    ];
    for (from, to) in changes {
        assert!(json.contains(from), "{from}");
        let error = parse(&json.replacen(from, to, 1)).unwrap_err();
        assert!(matches!(error, Error::WitnessMismatch { .. }), "{to}: {error}");
    }
}

#[test]
fn what_is_no_bundle_is_refused() {
    let json = bundle().to_json(None).unwrap();
    let long = json.replace("local://b/c", &"x".repeat(5000));
    assert!(matches!(parse(&long), Err(Error::TooLarge { limit: 4096, .. })));
    assert!(matches!(
        parse(&format!("{json}{}", " ".repeat(70_000))),
        Err(Error::TooLarge { limit: 65_536, .. })
    ));
    let later = parse(&json.replace("\"format_version\": 2", "\"format_version\": 3")).unwrap_err();
    assert!(later.to_string().contains("format version 3 is newer than 2"), "{later}");
    for text in ["", "{}", "[1]", "\u{0}", "{\"format_version\": -1}"] {
        assert!(matches!(parse(text), Err(Error::InvalidBundle { .. })), "{text:?}");
    }
}

#[test]
fn folders_are_read_with_care() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Bundle::read(folder.path()).unwrap().is_none());
    let path = bundle().write(&folder.path().join("a/b"), None).unwrap();
    assert!(path.ends_with("a/b/table.rulake.json"));
    assert_eq!(Bundle::read(&folder.path().join("a/b")).unwrap().unwrap().bundle, bundle());
    assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1, "no temporary file is left");
    fs::write(folder.path().join(FILE), vec![b' '; 100_000]).unwrap();
    assert!(matches!(Bundle::read(folder.path()), Err(Error::TooLarge { .. })));
    fs::write(folder.path().join(FILE), [0xff, 0xfe]).unwrap();
    assert!(matches!(Bundle::read(folder.path()), Err(Error::InvalidBundle { .. })));
}

#[cfg(feature = "sign")]
#[test]
fn a_signature_tells_who_wrote_it() {
    let signer = Signer::from_seed([7; 32]);
    let json = bundle().to_json(Some(&signer)).unwrap();
    assert_eq!(parse(&json).unwrap().signer, Some(signer.public_key()));
    let other = Signer::from_seed([8; 32]);
    let key = |signer: &Signer| signer.public_key().to_hex();
    let error = parse(&json.replace(&key(&signer), &key(&other))).unwrap_err();
    assert!(matches!(error, Error::WitnessMismatch { .. }), "{error}");
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_is_refused_or_read(text in ".{0,200}") {
        let _ = parse(&text);
    }
}
