//! At which level each node of a nest runs.

use super::nest::Nest;
use super::{Key, Levels};
use crate::loops::pool::PartId;
use rustc_hash::FxHashMap;

/// The level of each node: 0 for loops and -1 for straight code at the end, higher the earlier it runs.
pub(super) fn levels<K: PartialEq>(
    nest: &Nest,
    keys: &[Option<K>],
    local: &dyn Fn(PartId, PartId, usize, &K) -> bool,
) -> Vec<i32> {
    let mut level = vec![0; keys.len()];
    for i in (0..keys.len()).rev() {
        let mut l = if keys[i].is_none() { -1 } else { 0 };
        for &(v, u, r) in &nest.readers[i] {
            let j = nest.node[u];
            l = l.max(match (&keys[i], &keys[j]) {
                (None, None) => level[j],
                (None, Some(_)) | (Some(_), None) => level[j] + 1,
                (Some(a), Some(b)) if a == b && local(nest.ids[v], nest.ids[u], r, a) => level[j],
                (Some(_), Some(_)) => level[j] + 2,
            });
        }
        level[i] = l;
    }
    level
}

/// Straight code of a row runs as early as its inputs allow.
pub(super) fn early(nest: &Nest, keys: &[Option<Key>], level: &mut [i32]) {
    let top = level.iter().copied().max().unwrap_or(1);
    let top = (top | 1).max(1);
    for i in 0..nest.nodes.len() {
        if keys[i].is_none() {
            let after = nest.reads[i]
                .iter()
                .map(|&(v, _, _)| level[nest.node[v]] - i32::from(keys[nest.node[v]].is_some()))
                .min();
            level[i] = after.unwrap_or(top);
        }
    }
}

impl Levels<'_> {
    /// Inside a row: a fold whose producers are all early joins the earliest nest over the same axes.
    pub(super) fn join<S: PartialEq, K: PartialEq>(
        &self,
        nest: &Nest,
        sets: &[Option<S>],
        keys: &[Option<K>],
        local: &dyn Fn(PartId, PartId, usize, &K) -> bool,
        level: &mut [i32],
    ) {
        let count = nest.nodes.len();
        for i in 0..count {
            let Some(key) = &keys[i] else { continue };
            if nest.cyclic(i) || !self.info(nest.first(i)).fold {
                continue;
            }
            let mut candidates: Vec<i32> = (0..count)
                .filter(|&j| {
                    j != i && sets[j] == sets[i] && keys[j] == keys[i] && level[j] > level[i]
                })
                .map(|j| level[j])
                .collect();
            candidates.sort_unstable_by_key(|l| -l);
            let fits = |l: i32| {
                nest.reads[i].iter().all(|&(v, u, r)| {
                    let j = nest.node[v];
                    let same = keys[j] == keys[i] && local(nest.ids[v], nest.ids[u], r, key);
                    level[j]
                        >= if same {
                            l
                        } else if keys[j].is_none() {
                            l + 1
                        } else {
                            l + 2
                        }
                })
            };
            if let Some(l) = candidates.into_iter().find(|&l| fits(l)) {
                level[i] = l;
            }
        }
    }

    /// A part that reads a dear result at its own element moves to the level where that is made, if it can.
    pub(super) fn pull_all(&self, nest: &Nest, keys: &[Option<Key>], level: &mut [i32]) {
        for i in 0..nest.nodes.len() {
            let Some(key) = keys[i] else { continue };
            let mut candidates: Vec<i32> = nest.reads[i]
                .iter()
                .filter(|&&(v, u, r)| {
                    let (j, made) = (nest.node[v], nest.ids[v]);
                    keys[j] == Some(key)
                        && level[j] > level[i]
                        && self.info(made).dear
                        && self.local(made, nest.ids[u], r, key.class)
                })
                .map(|&(v, _, _)| level[nest.node[v]])
                .collect();
            candidates.sort_unstable_by_key(|l| -l);
            for l in candidates {
                let mut moved = FxHashMap::default();
                if self.pull(nest, keys, level, i, l, &mut moved) {
                    for (j, l) in moved {
                        level[j] = l;
                    }
                    break;
                }
            }
        }
    }

    fn pull(
        &self,
        nest: &Nest,
        keys: &[Option<Key>],
        level: &[i32],
        i: usize,
        to: i32,
        moved: &mut FxHashMap<usize, i32>,
    ) -> bool {
        moved.insert(i, to);
        nest.reads[i].iter().all(|&(v, u, r)| {
            let j = nest.node[v];
            let same = keys[i] == keys[j]
                && keys[i].is_none_or(|k| self.local(nest.ids[v], nest.ids[u], r, k.class));
            let need = match (same, keys[j].is_none() == keys[i].is_none()) {
                (true, _) => to,
                (false, false) => to + 1,
                (false, true) => to + 2,
            };
            let now = moved.get(&j).copied().unwrap_or(level[j]);
            now >= need
                || same
                    && stacker::maybe_grow(64 * 1024, 1024 * 1024, || {
                        self.pull(nest, keys, level, j, need, moved)
                    })
        })
    }
}
