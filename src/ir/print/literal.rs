//! Hyperparameters and numbers, so that they read back as what they are.

use super::*;

pub(super) fn parameter(p: &crate::ir::Param) -> String {
    let mut s = p.name.to_string();
    match p.ty {
        Type::Real => {}
        Type::Int => s.push_str(": int"),
        Type::Bool => s.push_str(": bool"),
    }
    if let Some(d) = p.default {
        let text = match p.ty {
            Type::Bool => (d != 0.0).to_string(),
            Type::Int => format!("{d}"),
            Type::Real => literal(d),
        };
        s.push_str(&format!(" = {text}"));
    }
    if let Some(d) = &p.domain {
        s.push_str(&format!(" in {}", interval(d)));
    }
    s
}

pub(super) fn interval(d: &Domain) -> String {
    let (open, close) = (
        if d.low_included { '[' } else { '(' },
        if d.high_included { ']' } else { ')' },
    );
    format!("{open}{}, {}{close}", literal(d.low), literal(d.high))
}

/// The shortest text that reads back as the number.
pub(super) fn literal(x: f64) -> String {
    if x.is_nan() {
        return "(inf - inf)".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if x.abs() == std::f64::consts::PI {
        return if x > 0.0 { "pi".into() } else { "-pi".into() };
    }
    let size = x.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        format!("{x:e}")
    } else {
        format!("{x}")
    }
}

pub(super) fn number(x: f64) -> Piece {
    let text = literal(x);
    let prec = if text.starts_with('-') {
        prec::UNARY
    } else {
        prec::ATOM
    };
    Piece::text(text, prec)
}

pub(super) fn integer(k: i64) -> Piece {
    let prec = if k < 0 { prec::UNARY } else { prec::ATOM };
    Piece::text(k.to_string(), prec)
}
