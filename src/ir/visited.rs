//! Sets of expressions.

use super::{ExprId, Program};
use rustc_hash::FxHashMap;

/// A set of expressions of one program: bits, in pages where the program is large and a body is a small part of it.
pub struct Visited {
    words: Vec<u64>,
    pages: FxHashMap<u32, u64>,
}

/// Up to this many expressions one bit for each is cheaper than pages.
const FEW: usize = 1 << 13;

impl Visited {
    pub fn new(program: &Program) -> Visited {
        let count = program.node_count();
        let words = if count <= FEW {
            vec![0; count / 64 + 1]
        } else {
            vec![]
        };
        Visited {
            words,
            pages: FxHashMap::default(),
        }
    }

    /// Adds an expression; whether it was not there yet.
    pub fn insert(&mut self, id: ExprId) -> bool {
        let bit = 1u64 << (id.0 % 64);
        let word = match self.words.get_mut(id.index() / 64) {
            Some(word) => word,
            None => self.pages.entry(id.0 / 64).or_default(),
        };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Its members, ascending: operands before readers.
    pub fn sorted(&self) -> Vec<ExprId> {
        let words = self.words.iter().chain(self.pages.values());
        let count: u32 = words.map(|w| w.count_ones()).sum();
        let mut ids = Vec::with_capacity(count as usize);
        let mut unpack = |page: u32, word: u64| {
            let mut rest = word;
            while rest != 0 {
                ids.push(ExprId(page * 64 + rest.trailing_zeros()));
                rest &= rest - 1;
            }
        };
        for (page, &word) in self.words.iter().enumerate() {
            unpack(page as u32, word);
        }
        let mut pages: Vec<(u32, u64)> = self.pages.iter().map(|(&p, &w)| (p, w)).collect();
        pages.sort_unstable();
        for (page, word) in pages {
            unpack(page, word);
        }
        ids
    }
}
