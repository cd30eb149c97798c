//! The images: reading them, splitting them, and shifting them by a pixel to have more to learn from.

use std::io::Read;

use actinic::prelude::*;
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// UCI's handwritten digits, gzipped CSV; see `examples/data/README.md`.
const DIGITS_CSV_GZ: &[u8] = include_bytes!("../../data/digits.csv.gz");

/// The side of an image, in pixels.
pub(crate) const SIDE: usize = 8;
/// The pixels of an image.
pub(crate) const PIXELS: usize = SIDE * SIDE;
/// The digits, 0 to 9.
pub(crate) const CLASSES: usize = 10;

/// Images with what they show.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Digits {
    /// Pixels from 0 (white) to 1 (black), `[images, 64]`.
    pub(crate) images: Tensor<f32>,
    /// Digits, `[images]`.
    pub(crate) labels: Tensor<u8>,
}

impl Digits {
    /// All 1,797 images.
    pub(crate) fn load() -> std::io::Result<Self> {
        let mut csv = String::new();
        flate2::read::GzDecoder::new(DIGITS_CSV_GZ).read_to_string(&mut csv)?;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for line in csv.lines() {
            let numbers: Vec<u8> = line.split(',').filter_map(|number| number.parse().ok()).collect();
            let (image, label) = numbers.split_at(PIXELS);
            pixels.extend(image.iter().map(|&ink| f32::from(ink) / 16.0));
            labels.push(label[0]);
        }
        Ok(Self::from_parts(pixels, labels))
    }

    fn from_parts(pixels: Vec<f32>, labels: Vec<u8>) -> Self {
        let images = Tensor::from_vec([labels.len(), PIXELS], pixels).expect("every image has 64 pixels");
        Self { images, labels: labels.into() }
    }

    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The images at `rows`.
    pub(crate) fn select(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for row in rows {
            pixels.extend_from_slice(self.images.row(row));
            labels.push(self.labels.as_slice()[row]);
        }
        Self::from_parts(pixels, labels)
    }

    /// Shuffles, and sets the last `held_out` images apart: `(to learn from, to be tested with)`.
    pub(crate) fn split(&self, held_out: usize, random: &mut Random) -> (Self, Self) {
        let rows = random.shuffled(self.len());
        let (train, test) = rows.split_at(self.len() - held_out);
        (self.select(train.iter().copied()), self.select(test.iter().copied()))
    }

    /// Each image as it is and moved by one pixel in the eight directions: nine times as many, in random order.
    pub(crate) fn shifted(&self, random: &mut Random) -> Self {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for at in random.shuffled(self.len() * 9) {
            let (row, shift) = (at / 9, at % 9);
            let image = self.images.row(row);
            for pixel in 0..PIXELS {
                // The pixel that moves here, if it was inside of the image.
                let (y, x) = (pixel / SIDE + shift / 3, pixel % SIDE + shift % 3);
                let inside = (1..=SIDE).contains(&y) && (1..=SIDE).contains(&x);
                pixels.push(if inside { image[(y - 1) * SIDE + x - 1] } else { 0.0 });
            }
            labels.push(self.labels.as_slice()[row]);
        }
        Self::from_parts(pixels, labels)
    }
}
