//! Windows that move over one to three spatial axes: what convolutions and pools share.

use flowrs_kernels::Layout;

use super::attributes::Attributes;
use crate::error::Error;

/// How a window moves. Missing spatial axes come first, with size 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    spatial: usize,
    pub(crate) stride: [usize; 3],
    pub(crate) dilation: [usize; 3],
    pub(crate) padding_before: [usize; 3],
    padding_after: [usize; 3],
    pub(crate) layout: Layout,
}

/// One to three sizes as three, the missing ones in front.
pub(crate) fn three(name: &str, values: &[usize], fill: usize) -> Result<[usize; 3], Error> {
    if values.is_empty() || values.len() > 3 {
        return Err(Error::Argument(format!("{name} must have 1 to 3 entries, not {values:?}")));
    }
    let mut result = [fill; 3];
    result[3 - values.len()..].copy_from_slice(values);
    Ok(result)
}

impl Window {
    /// Reads `strides`, `padding_before`, `padding_after`, `layout`
    /// and, for convolutions, `dilations`.
    pub(crate) fn from_attributes(
        attributes: &mut Attributes,
        dilated: bool,
    ) -> Result<Self, Error> {
        let strides = attributes.sizes("strides")?;
        let dilations =
            if dilated { attributes.sizes("dilations")? } else { vec![1; strides.len()] };
        let before = attributes.sizes("padding_before")?;
        let after = attributes.sizes("padding_after")?;
        let lengths = [dilations.len(), before.len(), after.len()];
        if lengths.iter().any(|length| *length != strides.len()) {
            return Err(Error::Argument(format!(
                "strides, dilations and paddings must have the same length, not {} and {lengths:?}",
                strides.len()
            )));
        }
        if strides.contains(&0) || dilations.contains(&0) {
            return Err(Error::Argument("strides and dilations must be above 0".into()));
        }
        let layout = match attributes.text("layout")?.as_str() {
            "channels_first" => Layout::ChannelsFirst,
            "channels_last" => Layout::ChannelsLast,
            other => return Err(Error::Argument(format!("there is no layout {other}"))),
        };
        Ok(Self {
            spatial: strides.len(),
            stride: three("strides", &strides, 1)?,
            dilation: three("dilations", &dilations, 1)?,
            padding_before: three("padding_before", &before, 0)?,
            padding_after: three("padding_after", &after, 0)?,
            layout,
        })
    }

    /// The same for values with channels last, unless they are that already.
    pub(crate) fn channels_last(&self) -> Option<Self> {
        let first = self.layout == Layout::ChannelsFirst;
        first.then(|| Self { layout: Layout::ChannelsLast, ..self.clone() })
    }

    pub(crate) fn rank(&self) -> usize {
        self.spatial + 2
    }

    pub(crate) fn channel_axis(&self, layout: Layout) -> usize {
        match layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => self.rank() - 1,
        }
    }

    pub(crate) fn attributes(&self) -> String {
        let tail = 3 - self.spatial;
        let mut text = format!("stride={:?}", &self.stride[tail..]);
        if self.dilation != [1; 3] {
            text += &format!(", dilation={:?}", &self.dilation[tail..]);
        }
        if self.padding_before != [0; 3] || self.padding_after != [0; 3] {
            let (before, after) = (&self.padding_before[tail..], &self.padding_after[tail..]);
            text += &format!(", padding={before:?}+{after:?}");
        }
        text
    }

    /// First axis, channels and spatial sizes of a shape, or of a weight's.
    pub(crate) fn split(&self, layout: Layout, shape: &[usize]) -> (usize, usize, [usize; 3]) {
        let spatial = match layout {
            Layout::ChannelsFirst => &shape[2..],
            Layout::ChannelsLast => &shape[1..shape.len() - 1],
        };
        let mut sizes = [1; 3];
        sizes[3 - self.spatial..].copy_from_slice(spatial);
        (shape[0], shape[self.channel_axis(layout)], sizes)
    }

    /// The inverse of [`split`](Self::split).
    pub(crate) fn join(
        &self,
        layout: Layout,
        first: usize,
        channels: usize,
        sizes: [usize; 3],
    ) -> Vec<usize> {
        let mut shape = vec![first];
        shape.extend_from_slice(&sizes[3 - self.spatial..]);
        match layout {
            Layout::ChannelsFirst => shape.insert(1, channels),
            Layout::ChannelsLast => shape.push(channels),
        }
        shape
    }

    /// Spatial sizes of the output; `input` is named in the error.
    pub(crate) fn output(
        &self,
        size: [usize; 3],
        window: [usize; 3],
        input: &[usize],
    ) -> Result<[usize; 3], Error> {
        let mut output = [0; 3];
        for axis in 0..3 {
            let padded = size[axis] + self.padding_before[axis] + self.padding_after[axis];
            let extent = (window[axis].max(1) - 1) * self.dilation[axis] + 1;
            if window[axis] == 0 || padded < extent {
                return Err(Error::Shape(format!(
                    "a window of {extent} does not fit into {padded} (padding included) along a \
                     spatial axis of {input:?}"
                )));
            }
            output[axis] = (padded - extent) / self.stride[axis] + 1;
        }
        Ok(output)
    }
}
