//! Arrays from files, against what NumPy wrote (scripts/data_files.py).

use losscc::array::{Array, Data};
use losscc::data::{Format, read, to_json, write_npz};
use std::io::Cursor;

fn file(name: &str) -> Result<Vec<(String, Array)>, String> {
    let bytes = std::fs::read(format!("tests/data/{name}")).unwrap();
    read(name, Format::of(name).unwrap(), &bytes).map_err(|d| d.title)
}

fn one(name: &str) -> Array {
    file(name).unwrap().remove(0).1
}

#[test]
fn npy_in_every_order() {
    let grid = Array::real(&[2, 3], vec![0.0, 0.25, 0.5, 0.75, 1.0, 1.25]);
    assert_eq!(one("c_order.npy"), grid);
    assert_eq!(one("fortran_order.npy"), grid);
    assert_eq!(one("big_endian.npy"), grid);
    let cube = Array {
        shape: vec![2, 3, 4],
        data: Data::Int((0..24).collect()),
    };
    assert_eq!(one("cube_fortran.npy"), cube);
    assert_eq!(one("int_big_endian.npy").data, Data::Int(vec![-3, 1 << 40]));
    for name in ["half.npy", "half_big_endian.npy"] {
        let half = one(name);
        let v = half.reals().unwrap();
        let exact = [
            1.0,
            -0.0,
            0.0999755859375,
            65504.0,
            2f64.powi(-24),
            f64::INFINITY,
        ];
        assert!(v[6].is_nan() && v[1].is_sign_negative(), "{v:?}");
        assert_eq!(v[..6], exact);
    }
    assert_eq!(one("bool.npy").data, Data::Bool(vec![true, false, true]));
    assert_eq!(one("scalar.npy"), Array::scalar(2.5));
    assert_eq!(one("empty.npy"), Array::real(&[0, 3], vec![]));
}

#[test]
fn npz_plain_and_compressed() {
    let names = |f: &str| {
        file(f)
            .unwrap()
            .into_iter()
            .map(|(n, a)| (n, a.shape))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("plain.npz"),
        [
            ("yhat".to_string(), vec![2, 3]),
            ("y".to_string(), vec![2, 3])
        ]
    );
    let compressed = file("compressed.npz").unwrap();
    assert_eq!(compressed[0].1.shape, [80, 3]);
    assert_eq!(compressed[1].1.data, Data::Int((0..80).collect()));
}

#[test]
fn broken_files_say_what_is_wrong() {
    for (name, expected) in [
        (
            "truncated.npy",
            "cannot read `truncated.npy`: it is truncated",
        ),
        (
            "truncated_header.npy",
            "cannot read `truncated_header.npy`: it is no .npy file, or its header is broken",
        ),
        (
            "absurd.npy",
            "cannot read `absurd.npy`: it is no .npy file, or its header is broken",
        ),
        (
            "text.npy",
            "cannot read `text.npy`: its dtype <U2 is not one of",
        ),
        (
            "complex.npy",
            "cannot read `complex.npy`: its dtype <c16 is not one of",
        ),
        ("truncated.npz", "cannot read `truncated.npz`: "),
    ] {
        let error = file(name).unwrap_err();
        assert!(error.starts_with(expected), "{name}: {error}");
    }
}

fn text(format: Format, text: &str) -> Result<Vec<(String, Array)>, String> {
    read("f", format, text.as_bytes()).map_err(|d| d.title)
}

#[test]
fn json() {
    let got = text(
        Format::Json,
        r#"{"a": [[1, 2], [3, 4]], "b": [true, false], "c": 1.5, "d": ["NaN", "-Infinity", 1], "e": [[], []]}"#,
    );
    let got = got.unwrap();
    let by = |name: &str| &got.iter().find(|(n, _)| n == name).unwrap().1;
    assert_eq!(
        *by("a"),
        Array {
            shape: vec![2, 2],
            data: Data::Int(vec![1, 2, 3, 4])
        }
    );
    assert_eq!(by("b").data, Data::Bool(vec![true, false]));
    assert_eq!(*by("c"), Array::scalar(1.5));
    let d = by("d").reals().unwrap();
    assert!(d[0].is_nan() && d[1] == f64::NEG_INFINITY && d[2] == 1.0);
    assert_eq!(by("e").shape, [2, 0]);
    for (bad, expected) in [
        ("[1]", "it is not an object of arrays"),
        (
            "{\"a\": [[1], [2, 3]]}",
            "`a` is ragged: one list has 1 elements, another 2",
        ),
        (
            "{\"a\": [1, [2]]}",
            "`a` is ragged: a list stands where a number was",
        ),
        ("{\"a\": [\"x\"]}", "`a` holds the text \"x\""),
        ("{\"a\": [null]}", "`a` holds something that is no number"),
        ("{\"a\": [1", "EOF"),
    ] {
        let error = text(Format::Json, bad).unwrap_err();
        assert!(error.contains(expected), "{bad}: {error}");
    }
}

#[test]
fn csv() {
    let got = text(Format::Csv, "\u{feff}y, yhat\n1, 2.5\n-3e2,inf\n").unwrap();
    assert_eq!(got[0], ("y".into(), Array::real(&[2], vec![1.0, -300.0])));
    assert_eq!(got[1].1.reals().unwrap()[1], f64::INFINITY);
    assert_eq!(text(Format::Csv, "y,yhat\n").unwrap()[0].1.shape, [0]);
    for (bad, expected) in [
        ("y,y\n1,2\n", "two columns have the name `y`"),
        ("y,z\n1,two\n", "line 2: column `z` is `two`, not a number"),
        ("y,z\n1,\n", "line 2: column `z` is empty"),
        ("y,z\n1,2,3\n", "line 2 has 3 cells, the line of names 2"),
        ("", "it is empty"),
    ] {
        let error = text(Format::Csv, bad).unwrap_err();
        assert!(error.contains(expected), "{bad}: {error}");
    }
    assert!(
        read("f", Format::Csv, b"y\n\xff\n")
            .unwrap_err()
            .title
            .contains("not UTF-8 text (byte 2)")
    );
}

#[test]
fn npz_goes_out_and_comes_back() {
    let mut bytes = Cursor::new(vec![]);
    write_npz(
        &mut bytes,
        &[("yhat", &[2, 1], &[1.5, f64::NAN]), ("b", &[], &[2.0])],
    )
    .unwrap();
    let back = read("g.npz", Format::Npz, bytes.get_ref()).unwrap();
    assert_eq!(back[0].1.shape, [2, 1]);
    assert!(back[0].1.reals().unwrap()[1].is_nan());
    assert_eq!(back[1], ("b".into(), Array::scalar(2.0)));
}

#[test]
fn json_of_numbers() {
    assert_eq!(
        to_json(&[2, 1], &[1.0, f64::INFINITY]).to_string(),
        "[[1.0],[\"Infinity\"]]"
    );
    assert_eq!(to_json(&[], &[0.5]).to_string(), "0.5");
}
