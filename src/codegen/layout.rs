//! The block of 8-byte cells through which a kernel and its caller speak.

use crate::loops::{BufferId, ExtentIndex, Home, Loops};

/// How many axis values a failed check reports at most.
pub const PLACES: usize = 6;

/// Cell of the index that was out of range.
pub const ERROR_INDEX: usize = 0;
/// First cell of the values of the axes.
pub const ERROR_PLACE: usize = ERROR_INDEX + 1;
/// Two cells that are 0: what a load reads whose index is out of range and that has another value then.
pub const ZERO: usize = ERROR_PLACE + PLACES;
/// Two cells that nobody reads: where a store goes whose guard does not hold.
pub const SINK: usize = ZERO + 2;
/// A vector step of set bits, then one of zeros: masks of a step's first elements begin within it.
pub const MASKS: usize = SINK + 2;
/// Its cells.
pub const MASK_CELLS: usize = 16;
const FIRST: usize = MASKS + MASK_CELLS;

/// Which cell holds what.
#[derive(Debug, Clone)]
pub struct Layout {
    buffers: usize,
    extents: usize,
    params: usize,
    cells: usize,
}

impl Layout {
    pub fn new(loops: &Loops) -> Layout {
        let extents = FIRST + 3 * loops.buffers.len();
        let params = extents + loops.extents.len();
        Layout {
            buffers: FIRST,
            extents,
            params,
            cells: params + loops.params.len(),
        }
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// The address of a buffer; of a total, the merged cells.
    pub fn buffer(&self, id: BufferId) -> usize {
        self.buffers + 3 * id.0 as usize
    }

    /// The address of a chunk's own cells of a total.
    pub fn partial(&self, id: BufferId) -> usize {
        self.buffer(id) + 1
    }

    /// One past a buffer's last byte; of a total, of the merged cells.
    pub fn end(&self, id: BufferId) -> usize {
        self.buffer(id) + 2
    }

    /// How long an axis is.
    pub fn extent(&self, id: ExtentIndex) -> usize {
        self.extents + id.0 as usize
    }

    /// A hyperparameter: an f64, or an i64 where it is an int.
    pub fn param(&self, index: u32) -> usize {
        self.params + index as usize
    }
}

/// The buffer in whose memory a buffer lives.
pub fn root(loops: &Loops, mut id: BufferId) -> BufferId {
    // A chain cannot be longer than there are buffers.
    for _ in 0..loops.buffers.len() {
        match loops.buffers[id.0 as usize].shares {
            Some(owner) => id = owner,
            None => break,
        }
    }
    id
}

/// Whether a buffer is a total.
pub fn is_total(loops: &Loops, id: BufferId) -> bool {
    matches!(loops.buffers[id.0 as usize].home, Home::Total(_))
}
