//! `.json`: an object of nested lists of numbers; non-finite numbers are the strings "NaN", "Infinity", "-Infinity".

use super::{Named, Needed, broken, text, those_needed};
use crate::array::{Array, Data};
use crate::diagnostic::Diagnostic;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

pub(super) fn read(file: &str, bytes: &[u8], needed: Needed) -> Result<Named, Diagnostic> {
    let text = text(file, bytes)?;
    if !text.trim_start().starts_with('{') {
        return Err(broken(file, "it is not an object of arrays")
            .help("write {\"yhat\": [...], \"y\": [...]}"));
    }
    let members: Members = serde_json::from_str(text).map_err(|e| unread(file, text, &e))?;
    let read = |(name, v): (String, Value)| {
        let array = array(file, &name, &v);
        (name, array)
    };
    those_needed(members.0.into_iter().map(read), needed)
}

/// Why a text is not read, with help for what Python writes.
fn unread(file: &str, text: &str, error: &serde_json::Error) -> Diagnostic {
    let d = broken(file, error);
    let line = text.lines().nth(error.line().saturating_sub(1));
    let here = line.and_then(|l| l.get(error.column().saturating_sub(1)..));
    let is_word = |word: &&&str| here.is_some_and(|h| h.starts_with(**word));
    match ["NaN", "Infinity"].iter().find(is_word) {
        Some(word) => d.help(format!(
            "JSON has no {word}; write it as a text: \"{word}\""
        )),
        None => d,
    }
}

/// An object's members in their order, each name once.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
        from.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object of arrays")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut all: Vec<(String, Value)> = vec![];
        let mut names = rustc_hash::FxHashSet::default();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("the name `{name}` stands twice")));
            }
            all.push((name, value));
        }
        Ok(Members(all))
    }
}

fn array(file: &str, name: &str, value: &Value) -> Result<Array, Diagnostic> {
    let mut shape = vec![];
    let mut level = value;
    while let Value::Array(items) = level {
        shape.push(items.len());
        match items.first() {
            Some(first) => level = first,
            None => break,
        }
    }
    let mut leaves = vec![];
    collect(value, &shape, &mut leaves).map_err(|what| broken(file, format!("`{name}` {what}")))?;
    let data = if !leaves.is_empty() && leaves.iter().all(|l| matches!(l, Leaf::Bool(_))) {
        Data::Bool(
            leaves
                .iter()
                .map(|l| matches!(l, Leaf::Bool(true)))
                .collect(),
        )
    } else if !leaves.is_empty() && leaves.iter().all(|l| matches!(l, Leaf::Int(_))) {
        Data::Int(
            leaves
                .iter()
                .map(|l| if let Leaf::Int(n) = l { *n } else { 0 })
                .collect(),
        )
    } else {
        Data::Real(leaves.iter().map(Leaf::real).collect())
    };
    Ok(Array { shape, data })
}

enum Leaf {
    Bool(bool),
    Int(i64),
    Real(f64),
}

impl Leaf {
    fn real(&self) -> f64 {
        match self {
            Leaf::Bool(b) => f64::from(u8::from(*b)),
            Leaf::Int(n) => *n as f64,
            Leaf::Real(x) => *x,
        }
    }
}

fn collect(value: &Value, shape: &[usize], out: &mut Vec<Leaf>) -> Result<(), String> {
    match (value, shape.split_first()) {
        (Value::Array(items), Some((&n, rest))) => {
            if items.len() != n {
                return Err(format!(
                    "is ragged: one list has {n} elements, another {}",
                    items.len()
                ));
            }
            items.iter().try_for_each(|item| collect(item, rest, out))
        }
        (Value::Array(_), None) => Err("is ragged: a list stands where a number was".into()),
        (_, Some(_)) => Err("is ragged: a number stands where a list was".into()),
        (Value::Bool(b), None) => {
            out.push(Leaf::Bool(*b));
            Ok(())
        }
        (Value::Number(n), None) => {
            out.push(match n.as_i64() {
                Some(n) => Leaf::Int(n),
                None => Leaf::Real(n.as_f64().unwrap_or(f64::NAN)),
            });
            Ok(())
        }
        (Value::String(s), None) => {
            out.push(Leaf::Real(match s.as_str() {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => return Err(format!("holds the text \"{s}\"; only \"NaN\", \"Infinity\" and \"-Infinity\" are numbers")),
            }));
            Ok(())
        }
        (Value::Null | Value::Object(_), None) => Err("holds something that is no number".into()),
    }
}

/// A number as JSON: non-finite ones are strings.
pub fn number(x: f64) -> Value {
    if x.is_nan() {
        Value::from("NaN")
    } else if x.is_infinite() {
        Value::from(if x > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        Value::from(x)
    }
}

/// Nested lists of the given shape; a number for no axes.
pub fn to_json(shape: &[usize], data: &[f64]) -> Value {
    match shape.split_first() {
        None => data.first().map_or(Value::Null, |&x| number(x)),
        Some((&n, rest)) => {
            let size: usize = rest.iter().product();
            Value::Array(
                (0..n)
                    .map(|i| to_json(rest, &data[i * size..(i + 1) * size]))
                    .collect(),
            )
        }
    }
}
