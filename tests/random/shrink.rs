//! Makes a failing program smaller as long as it fails in the same way.

use crate::Trial;
use crate::data::Style;
use crate::term::Term;
use std::time::{Duration, Instant};

/// The smallest program and data that were found within the time.
pub fn shrink(mut trial: Trial, time: Duration) -> Trial {
    let Some(kind) = trial.failure().map(|f| f.kind) else {
        return trial;
    };
    let end = Instant::now() + time;
    let fails = |t: &Trial| t.failure().is_some_and(|f| f.kind == kind);
    loop {
        let mut smaller = false;
        for candidate in extents(&trial).into_iter().chain(data(&trial)) {
            if Instant::now() < end && fails(&candidate) {
                trial = candidate;
                smaller = true;
                break;
            }
        }
        // The value first, since dropping a part of it drops whole definitions.
        let count = trial.program.definitions.len() + trial.program.functions.len() + 1;
        for place in 0..count {
            let mut n = 0;
            while n < term(&trial, place).size() {
                let mut found = false;
                for new in term(&trial, place).get(n).smaller() {
                    if Instant::now() > end {
                        return trial;
                    }
                    let mut candidate = trial.clone();
                    let old = term(&candidate, place).clone();
                    *term_mut(&mut candidate, place) = old.with(n, &new);
                    if fails(&candidate) {
                        trial = candidate;
                        smaller = true;
                        found = true;
                        break;
                    }
                }
                n += usize::from(!found);
            }
        }
        if !smaller || Instant::now() > end {
            return trial;
        }
    }
}

fn term(trial: &Trial, place: usize) -> &Term {
    let p = &trial.program;
    let n = p.definitions.len();
    match place {
        0 => &p.value,
        k if k <= n => &p.definitions[n - k].body,
        k => &p.functions[k - n - 1].body,
    }
}

fn term_mut(trial: &mut Trial, place: usize) -> &mut Term {
    let p = &mut trial.program;
    let n = p.definitions.len();
    match place {
        0 => &mut p.value,
        k if k <= n => &mut p.definitions[n - k].body,
        k => &mut p.functions[k - n - 1].body,
    }
}

/// One call only, with smaller extents.
fn extents(trial: &Trial) -> Vec<Trial> {
    let mut out = vec![];
    if trial.cases.len() > 1 {
        for case in &trial.cases {
            let mut t = trial.clone();
            t.cases = vec![case.clone()];
            out.push(t);
        }
        return out;
    }
    for c in 0..trial.cases[0].0.extents.len() {
        let n = trial.cases[0].0.extents[c];
        for smaller in [1, 2, n / 2, n.saturating_sub(1)] {
            if smaller > 0 && smaller < n {
                let mut t = trial.clone();
                t.cases[0].0.extents[c] = smaller;
                out.push(t);
            }
        }
    }
    out
}

/// Plainer numbers.
fn data(trial: &Trial) -> Vec<Trial> {
    let mut out = vec![];
    if trial.cases.len() == 1 && trial.cases[0].0.style != Style::Ties {
        let mut t = trial.clone();
        t.cases[0].0.style = Style::Ties;
        out.push(t);
    }
    for i in 0..trial.program.inputs.len() {
        if trial.program.inputs[i].differentiated {
            let mut t = trial.clone();
            t.program.inputs[i].differentiated = false;
            let one_left = t.program.inputs.iter().any(|i| i.differentiated);
            if one_left && t.program.render() != trial.program.render() {
                out.push(t);
            }
        }
    }
    out
}
