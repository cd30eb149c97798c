//! A small neural network in plain code: 64 pixels, a hidden layer of rectified units, 10 digits, softmax.

use actinic::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    data::{Digits, CLASSES, PIXELS},
    random::Random,
};

const HIDDEN: usize = 128;

/// The weights, or a gradient with respect to them.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Model {
    hidden: Tensor<f32>,      // [64, 128]
    hidden_bias: Tensor<f32>, // [128]
    output: Tensor<f32>,      // [128, 10]
    output_bias: Tensor<f32>, // [10]
}

impl Model {
    /// Uniform random weights within ±√(6/inputs) (He et al., 2015), no biases.
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut layer = |inputs: usize, outputs: usize| {
            let bound = (6.0 / inputs as f32).sqrt();
            Tensor::from_fn([inputs, outputs], |_| random.signed_unit() * bound)
        };
        Self {
            hidden: layer(PIXELS, HIDDEN),
            hidden_bias: Tensor::zeros([HIDDEN]),
            output: layer(HIDDEN, CLASSES),
            output_bias: Tensor::zeros([CLASSES]),
        }
    }

    /// All zeros.
    pub(crate) fn zeros() -> Self {
        Self {
            hidden: Tensor::zeros([PIXELS, HIDDEN]),
            hidden_bias: Tensor::zeros([HIDDEN]),
            output: Tensor::zeros([HIDDEN, CLASSES]),
            output_bias: Tensor::zeros([CLASSES]),
        }
    }

    /// How many numbers it has.
    pub(crate) fn len(&self) -> usize {
        self.hidden.len() + self.hidden_bias.len() + self.output.len() + self.output_bias.len()
    }

    /// `self = self * scale + other * factor`, in place.
    pub(crate) fn blend(&mut self, scale: f32, other: &Self, factor: f32) {
        for (ours, theirs) in [
            (&mut self.hidden, &other.hidden),
            (&mut self.hidden_bias, &other.hidden_bias),
            (&mut self.output, &other.output),
            (&mut self.output_bias, &other.output_bias),
        ] {
            for (a, b) in ours.make_mut().iter_mut().zip(theirs.as_slice()) {
                *a = *a * scale + b * factor;
            }
        }
    }

    /// The hidden layer's activity and the probability of each digit, one row an image.
    fn forward(&self, images: &Tensor<f32>) -> (Tensor<f32>, Tensor<f32>) {
        let active = (images.dot(&self.hidden) + &self.hidden_bias).map(|sum| sum.max(0.0));
        let mut scores = active.dot(&self.output) + &self.output_bias;
        for row in scores.make_mut().chunks_exact_mut(CLASSES) {
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            row.iter_mut().for_each(|score| *score = (*score - largest).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|score| *score /= sum);
        }
        (active, scores)
    }

    /// The mean gradient of the cross-entropy over `batch`, and the mean cross-entropy.
    pub(crate) fn gradient(&self, batch: &Digits) -> (Self, f32) {
        let count = batch.len() as f32;
        let (active, mut error) = self.forward(&batch.images);
        let mut loss = 0.0;
        for (row, &label) in error.make_mut().chunks_exact_mut(CLASSES).zip(batch.labels.as_slice()) {
            loss -= row[usize::from(label)].max(f32::MIN_POSITIVE).ln();
            row[usize::from(label)] -= 1.0;
        }
        error *= 1.0 / count;
        let back = error.dot(&self.output.transpose());
        let hidden_error = back.zip_map(&active, |error, active| if active > 0.0 { error } else { 0.0 });
        let hidden_error = hidden_error.expect("both are [images, hidden]");
        let over_rows = Tensor::ones([batch.len()]);
        let gradient = Self {
            hidden: batch.images.transpose().dot(&hidden_error),
            hidden_bias: over_rows.dot(&hidden_error),
            output: active.transpose().dot(&error),
            output_bias: over_rows.dot(&error),
        };
        (gradient, loss / count)
    }

    /// The likeliest digit of each image.
    pub(crate) fn predict(&self, images: &Tensor<f32>) -> Vec<u8> {
        let (_, scores) = self.forward(images);
        let likeliest = |row: &[f32]| (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as u8;
        scores.as_slice().chunks_exact(CLASSES).map(likeliest).collect()
    }
}
