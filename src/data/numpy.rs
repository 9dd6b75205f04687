//! `.npy` and `.npz`: NumPy's files, of any byte order, C or Fortran order, compressed or not.

use super::{Named, Needed, broken, those_needed};
use crate::array::{Array, Data};
use crate::diagnostic::Diagnostic;
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::{DType, Deserialize, Endianness, NpyFile, Order, TypeChar, WriterBuilder};
use std::io::{Cursor, Read, Seek, Write};

pub(super) fn read_npz(file: &str, bytes: &[u8], needed: Needed) -> Result<Named, Diagnostic> {
    let mut archive = NpzArchive::new(Cursor::new(bytes)).map_err(|e| broken(file, e))?;
    let zip = archive.zip_archive();
    let mut out = vec![];
    for index in 0..zip.len() {
        let mut inner = vec![];
        let mut entry = zip.by_index(index).map_err(|e| broken(file, e))?;
        // Entries that are no arrays are ignored, as NumPy does until they are asked for.
        let Some(name) = entry.name().strip_suffix(".npy").map(str::to_string) else {
            continue;
        };
        let array = match entry.read_to_end(&mut inner) {
            Ok(_) => read_npy(&format!("{file}: {name}"), &inner),
            Err(e) => Err(broken(file, format!("its array `{name}`: {e}"))),
        };
        out.push((name, array));
    }
    those_needed(out, needed)
}

pub(super) fn read_npy(file: &str, bytes: &[u8]) -> Result<Array, Diagnostic> {
    let claimed = claimed_elements(bytes)
        .ok_or_else(|| broken(file, "it is no .npy file, or its header is broken"))?;
    let npy = NpyFile::new(bytes).map_err(|e| broken(file, e))?;
    let shape: Vec<usize> = npy.shape().iter().map(|&n| n as usize).collect();
    let fortran = npy.header().order() == Order::Fortran;
    let dtype = npy.header().dtype();
    let DType::Plain(ty) = &dtype else {
        return Err(broken(
            file,
            "it holds records; an array of numbers is needed",
        ));
    };
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
    if count != Some(claimed) {
        return Err(broken(file, "its header is broken"));
    }
    let (kind, size) = (ty.type_char(), ty.size_field());
    let needed = claimed.checked_mul(size);
    let header = bytes.len() - npy_data_len(bytes);
    if needed.is_none_or(|n| n > (bytes.len() - header) as u64) {
        let have = bytes.len() - header;
        return Err(broken(
            file,
            format!("it is truncated: the shape {shape:?} needs more than the {have} bytes there"),
        ));
    }
    let data = match (kind, size) {
        (TypeChar::Bool, 1) => Data::Bool(values::<bool>(file, npy)?),
        (TypeChar::Int, 1) => ints(values::<i8>(file, npy)?),
        (TypeChar::Int, 2) => ints(values::<i16>(file, npy)?),
        (TypeChar::Int, 4) => ints(values::<i32>(file, npy)?),
        (TypeChar::Int, 8) => ints(values::<i64>(file, npy)?),
        (TypeChar::Uint, 1) => ints(values::<u8>(file, npy)?),
        (TypeChar::Uint, 2) => ints(values::<u16>(file, npy)?),
        (TypeChar::Uint, 4) => ints(values::<u32>(file, npy)?),
        (TypeChar::Uint, 8) => {
            let all = values::<u64>(file, npy)?;
            match all
                .iter()
                .map(|&n| i64::try_from(n))
                .collect::<Result<Vec<_>, _>>()
            {
                Ok(all) => Data::Int(all),
                Err(_) => {
                    return Err(broken(
                        file,
                        "it holds whole numbers beyond 64 bits with a sign",
                    ));
                }
            }
        }
        (TypeChar::Float, 2) => {
            let at = bytes.len() - npy_data_len(bytes);
            let big = ty.endianness() == Endianness::Big;
            Data::Real(halves(&bytes[at..at + 2 * claimed as usize], big))
        }
        (TypeChar::Float, 4) => Data::Real(
            values::<f32>(file, npy)?
                .into_iter()
                .map(f64::from)
                .collect(),
        ),
        (TypeChar::Float, 8) => Data::Real(values::<f64>(file, npy)?),
        _ => {
            let name = dtype.descr().replace('\'', "");
            return Err(broken(
                file,
                format!(
                    "its dtype {name} is not one of bool, int, uint, float16, float32, float64"
                ),
            ));
        }
    };
    Ok(Array {
        data: if fortran {
            row_major(&shape, data)
        } else {
            data
        },
        shape,
    })
}

fn values<T: Deserialize>(file: &str, npy: NpyFile<&[u8]>) -> Result<Vec<T>, Diagnostic> {
    npy.into_vec().map_err(|e| broken(file, e))
}

/// Half-precision numbers: a sign, 5 bits of exponent, 10 of fraction.
fn halves(bytes: &[u8], big: bool) -> Vec<f64> {
    let one = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        let bits = if big {
            u16::from_be_bytes(pair)
        } else {
            u16::from_le_bytes(pair)
        };
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
        let size = match exponent {
            0 => fraction * 2f64.powi(-24),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            e => (1024.0 + fraction) * 2f64.powi(e - 25),
        };
        if bits >> 15 == 0 { size } else { -size }
    };
    bytes.chunks_exact(2).map(one).collect()
}

fn ints<T: Into<i64>>(all: Vec<T>) -> Data {
    Data::Int(all.into_iter().map(Into::into).collect())
}

/// How many elements the header says there are; `None` if it is no header or the number is absurd. Asked before the
/// header is trusted with arithmetic.
fn claimed_elements(bytes: &[u8]) -> Option<u64> {
    let text = header_text(bytes)?;
    let shape = text
        .split_once("shape")?
        .1
        .split_once('(')?
        .1
        .split_once(')')?
        .0;
    let mut count = 1u64;
    for part in shape.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let n: u64 = part.trim_end_matches('L').parse().ok()?;
        // A zero does not make an absurd extent beside it harmless: strides are products too.
        count = count.checked_mul(n.max(1)).filter(|&n| n < 1 << 48)?;
        if n == 0 {
            return shape
                .split(',')
                .map(str::trim)
                .all(|p| p.len() < 14)
                .then_some(0);
        }
    }
    Some(count)
}

/// The text of the header, and what comes before it: magic, version, length.
fn header_text(bytes: &[u8]) -> Option<&str> {
    let start = header_start(bytes)?;
    let length = header_length(bytes)?;
    std::str::from_utf8(bytes.get(start..start.checked_add(length)?)?).ok()
}

fn header_start(bytes: &[u8]) -> Option<usize> {
    (bytes.get(..6)? == b"\x93NUMPY").then(|| if bytes.get(6) == Some(&1) { 10 } else { 12 })
}

fn header_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(6)? {
        1 => Some(usize::from(u16::from_le_bytes([
            *bytes.get(8)?,
            *bytes.get(9)?,
        ]))),
        _ => {
            let four: [u8; 4] = bytes.get(8..12)?.try_into().ok()?;
            Some(u32::from_le_bytes(four) as usize)
        }
    }
}

fn npy_data_len(bytes: &[u8]) -> usize {
    let header = header_start(bytes)
        .zip(header_length(bytes))
        .map_or(0, |(s, l)| s + l);
    bytes.len().saturating_sub(header)
}

fn row_major(shape: &[usize], data: Data) -> Data {
    match data {
        Data::Real(v) => Data::Real(transposed(shape, &v)),
        Data::Int(v) => Data::Int(transposed(shape, &v)),
        Data::Bool(v) => Data::Bool(transposed(shape, &v)),
    }
}

/// Elements in the order of the last axis first become elements in the order of the first axis first.
fn transposed<T: Copy>(shape: &[usize], values: &[T]) -> Vec<T> {
    let mut strides = vec![1usize; shape.len()];
    for k in 1..shape.len() {
        strides[k] = strides[k - 1] * shape[k - 1];
    }
    let place = |mut position: usize| {
        let mut at = 0;
        for (n, stride) in shape.iter().zip(&strides).rev() {
            at += position % n * stride;
            position /= n;
        }
        at
    };
    (0..values.len()).map(|p| values[place(p)]).collect()
}

/// Writes real arrays as f64, uncompressed.
///
/// # Errors
/// Whatever the writer says.
pub fn write_npz<W: Write + Seek>(
    out: W,
    arrays: &[(&str, &[usize], &[f64])],
) -> std::io::Result<()> {
    let mut npz = NpzWriter::new(out);
    for (name, shape, data) in arrays {
        let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let mut writer = npz
            .array(name, Default::default())?
            .default_dtype()
            .shape(&shape)
            .begin_nd()?;
        writer.extend(data.iter())?;
        writer.finish()?;
    }
    npz.zip_writer().finish().map_err(std::io::Error::from)?;
    Ok(())
}
