//! Loads: of one element, of lanes that follow each other in memory, and gathers.

use super::Read;
use crate::codegen::layout::ZERO;
use crate::codegen::math::Width;
use crate::codegen::stage::{Gen, Result, uses_axis};
use crate::codegen::value::{Val, bundle, cast};
use crate::loops::{BufferId, Elem, Index, ValueId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

impl<'u, 'f> Gen<'u, 'f> {
    pub(in crate::codegen) fn load(&mut self, read: Read) -> Result<Val> {
        self.check_rank(read.from, read.at)?;
        let Some(axis) = self.lane_loop.as_ref().map(|l| l.axis) else {
            return self.load_one(&read);
        };
        let condition = self.condition(read.from, read.at, (read.when, read.or, read.checked));
        if let Some((cursor, fine)) = self.stream_cursor(read.from, read.at, condition, false) {
            if let (Some(_), Some(when)) = (fine, read.when)
                && read.checked
                && read.or.is_none()
                && self.val(when)?.lanes()
            {
                self.check_lanes(&read, when)?;
            }
            let loaded = self.load_lanes(read.from, cursor)?;
            return match (read.or, fine) {
                (Some(or), Some(fine)) => {
                    let or = self.val(or)?;
                    let mask = self.mask_of(Val::Flag(fine))?;
                    let mask = self.spread(mask);
                    self.pick_lanes(mask, loaded, or)
                }
                _ => Ok(loaded),
            };
        }
        let proved = self.all_proved(read.from, read.at);
        let conditional = read.checked || read.or.is_some() || read.when.is_some();
        let by_value = self.lane_values(read.at)?;
        let uniform = !uses_axis(read.at, axis) && !by_value;
        let mut lane_conditions = false;
        for v in [read.when, read.or].into_iter().flatten() {
            lane_conditions |= !proved && self.val(v)?.lanes();
        }
        if uniform && !lane_conditions {
            return self.load_one(&read);
        }
        if uniform && read.or.is_none() {
            return self.load_for_lanes(&read);
        }
        if by_value || (conditional && !proved) {
            return self.gather(&read);
        }
        let cursor = self.place_cursor(read.from, read.at, axis, false)?;
        let size = self.elem_size(self.elem(read.from));
        if self.in_group() {
            return self.load_lanes(read.from, cursor);
        }
        let end = self.buffer_end(read.from);
        let cursor = self.through_slot(cursor, size, Some(end))?;
        self.load_lanes(read.from, cursor)
    }

    /// One cell that only some lanes need: it is read wherever it is.
    fn load_for_lanes(&mut self, read: &Read) -> Result<Val> {
        if let (true, Some(when)) = (read.checked, read.when) {
            self.check_lanes(read, when)?;
        }
        let lane = self.lane_index();
        let mut indices = vec![];
        let mut fine: Option<Value> = None;
        for (index, extent) in read.at.iter().zip(self.dims(read.from)) {
            let v = self.index(index, lane)?;
            if !self.proved(index, extent) {
                let inside = self.in_range(v, extent);
                fine = Some(fine.map_or(inside, |f| self.b.ins().band(f, inside)));
            }
            indices.push(v);
        }
        let mut address = self.address(read.from, &indices, false);
        if let Some(fine) = fine {
            let zero = self.cell_address(ZERO);
            address = self.b.ins().select(fine, address, zero);
        }
        self.load_cell(read.from, address)
    }

    /// Ends the call if indices that are the same for all lanes are out of range where a condition holds: at the first
    /// such lane.
    fn check_lanes(&mut self, read: &Read, when: ValueId) -> Result<()> {
        let when = self.val(when)?;
        let when = self.mask_of(when)?;
        let (when, valid) = (self.spread(when), self.valid_masks()?);
        let alive = self.emitter(when.copies()).and(when, valid);
        let mut lanes = self.b.ins().iconst(types::I64, 0);
        for (k, &mask) in alive.values().iter().enumerate() {
            let mask = cast(&mut self.b, self.width.integer(), mask);
            let bits = self.b.ins().vhigh_bits(types::I64, mask);
            let bits = self
                .b
                .ins()
                .ishl_imm_u(bits, (k * self.width.lanes()) as i64);
            lanes = self.b.ins().bor(lanes, bits);
        }
        let first = self.b.ins().ctz(lanes);
        let first = self.lane_index().map(|i| self.b.ins().iadd(i, first));
        let none = self.b.ins().icmp_imm_s(IntCC::Equal, lanes, 0);
        for (k, extent) in self.dims(read.from).into_iter().enumerate() {
            if self.proved(&read.at[k], extent) {
                continue;
            }
            let index = self.index(&read.at[k], None)?;
            let inside = self.in_range(index, extent);
            let ok = self.b.ins().bor(inside, none);
            let check = self.index_check(read.from, k, read.span);
            self.check(ok, check, index, first)?;
        }
        Ok(())
    }

    /// Whether an index differs from lane to lane through a computed value.
    pub(super) fn lane_values(&mut self, at: &[Index]) -> Result<bool> {
        for index in at {
            if let Index::Value(v) = index
                && self.val(*v)?.lanes()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One cell, the same for all lanes.
    fn load_one(&mut self, read: &Read) -> Result<Val> {
        let lane = self.lane_index();
        let mut indices = vec![];
        for index in read.at {
            indices.push(self.index(index, lane)?);
        }
        let proved = self.all_proved(read.from, read.at);
        let when = match read.when {
            Some(w) if !proved => Some(self.flag(w)?),
            _ => None,
        };
        let compare = !proved && (read.checked || read.or.is_some());
        let mut fine: Option<Value> = when;
        if compare {
            for (k, extent) in self.dims(read.from).into_iter().enumerate() {
                if self.proved(&read.at[k], extent) {
                    continue;
                }
                if read.or.is_some() {
                    let inside = self.in_range(indices[k], extent);
                    fine = Some(fine.map_or(inside, |f| self.b.ins().band(f, inside)));
                } else if self.unchecked(indices[k], extent, read.when, None) {
                    let inside = self.in_range(indices[k], extent);
                    let ok = self.or_idle(inside, when);
                    let check = self.index_check(read.from, k, read.span);
                    self.check(ok, check, indices[k], lane)?;
                }
            }
        }
        let mut address = self.address(read.from, &indices, false);
        if let Some(fine) = fine {
            let zero = self.cell_address(ZERO);
            address = self.b.ins().select(fine, address, zero);
        }
        let loaded = self.load_cell(read.from, address)?;
        match (read.or, fine) {
            (Some(or), Some(fine)) if compare => {
                let or = self.val(or)?;
                self.pick(fine, loaded, or)
            }
            _ => Ok(loaded),
        }
    }

    /// One of two values by a flag that is the same for all lanes.
    fn pick(&mut self, flag: Value, a: Val, b: Val) -> Result<Val> {
        Ok(match (a, b) {
            (Val::Int(a), Val::Int(b)) => Val::Int(self.b.ins().select(flag, a, b)),
            (Val::Flag(a), b) => {
                let b = self.flag_of(b)?;
                Val::Flag(self.b.ins().select(flag, a, b))
            }
            (a, b) => {
                let (mask, _) = self.mask_of(Val::Flag(flag))?;
                let (a, b) = (self.at_width(a, self.width)?, self.at_width(b, self.width)?);
                let v = self.emitter(1).select(mask, a.0, b.0);
                self.real_val(v, false)
            }
        })
    }

    fn load_cell(&mut self, buffer: BufferId, address: Value) -> Result<Val> {
        let scalar = self.load_scalar(self.elem(buffer), address);
        match self.elem(buffer) {
            Elem::Int => Ok(Val::Int(scalar)),
            Elem::Bool => Ok(Val::Flag(scalar)),
            Elem::Sum => {
                let v = self.b.ins().splat(types::F64X2, scalar);
                Ok(Val::Real {
                    vectors: bundle(&[v])?,
                    width: Width::F64X2,
                    lanes: false,
                })
            }
            Elem::Real => self.splat(scalar),
        }
    }

    /// Lane by lane, each with its own address, its conditions and its checks.
    fn gather(&mut self, read: &Read) -> Result<Val> {
        let when = read.when.map(|w| self.val(w)).transpose()?;
        let alive = self.alive(when)?;
        let checked = read.checked && read.or.is_none();
        let lanes = self.lane_index_lists(read.at)?;
        let dims = self.dims(read.from);
        let mut checks = vec![None; dims.len()];
        let zero = self.cell_address(ZERO);
        let (mut cells, mut fines) = (vec![], vec![]);
        for (k, indices) in lanes.iter().enumerate() {
            let mut fine = alive[k];
            for (d, (&index, &extent)) in indices.iter().zip(&dims).enumerate() {
                if self.proved(&read.at[d], extent) {
                    continue;
                }
                let inside = self.in_range(index, extent);
                if checked {
                    let check = match checks[d] {
                        Some(check) => check,
                        None => self.index_check(read.from, d, read.span),
                    };
                    checks[d] = Some(check);
                    let ok = self.or_idle(inside, Some(alive[k]));
                    let lane = self.lane_at(k);
                    self.check(ok, check, index, lane)?;
                } else {
                    fine = self.b.ins().band(fine, inside);
                }
            }
            let address = self.address(read.from, indices, false);
            let address = self.b.ins().select(fine, address, zero);
            cells.push(self.load_scalar(self.elem(read.from), address));
            fines.push(fine);
        }
        let loaded = self.lanes_from_scalars(self.elem(read.from), &cells)?;
        let Some(or) = read.or else {
            return Ok(loaded);
        };
        let mask = self.masks_from_flags(&fines)?;
        let or = self.val(or)?;
        self.pick_lanes(mask, loaded, or)
    }

    /// The indices of each lane.
    pub(super) fn lane_index_lists(&mut self, at: &[Index]) -> Result<Vec<Vec<Value>>> {
        let mut columns = vec![];
        for index in at {
            columns.push(match index {
                Index::Value(v) => {
                    let v = self.val(*v)?;
                    Some(self.lane_ints(v)?)
                }
                Index::Axis(_) | Index::Shift(..) | Index::Const(_) => None,
            });
        }
        let mut out = vec![];
        for k in 0..self.copies * self.width.lanes() {
            let lane = self.lane_at(k);
            let mut indices = vec![];
            for (index, column) in at.iter().zip(&columns) {
                indices.push(match column {
                    Some(c) => c[k],
                    None => self.index(index, lane)?,
                });
            }
            out.push(indices);
        }
        Ok(out)
    }
}
