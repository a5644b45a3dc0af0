//! Limits, and what raises them.

use reeve_policy::calendar::{Alignment, Boundaries, Calendar};
use reeve_policy::limit::{Limit, Metric, Override};
use reeve_policy::period::Window;

use super::{ConvertError, Problem, not_negative, present};
use crate::v1;

impl TryFrom<v1::Limit> for Limit {
    type Error = ConvertError;

    fn try_from(message: v1::Limit) -> Result<Self, ConvertError> {
        let metric = metric(message.metric)?;
        let period = message
            .period
            .ok_or_else(|| ConvertError::new("period", Problem::Missing))?;
        let alignment = alignment(
            message.calendar_aligned,
            message.quarter_start_month,
            message.boundaries_ms,
        )?;
        let open = message.open.map(window).transpose()?;
        let raised_by = message.raised_by.map(Override::try_from).transpose()?;
        Ok(Self {
            id: present("id", message.id)?,
            metric,
            max: not_negative("max", message.max)?,
            period: period.try_into()?,
            anchor_ms: message.anchor_ms,
            alignment,
            open,
            raised_by,
        })
    }
}

impl TryFrom<v1::LimitOverride> for Override {
    type Error = ConvertError;

    fn try_from(message: v1::LimitOverride) -> Result<Self, ConvertError> {
        let v1::LimitOverride {
            amount,
            from_ms,
            until_ms,
            cycles,
        } = message;
        if from_ms >= until_ms {
            return Err(ConvertError::new("raised_by.until_ms", Problem::Disorder));
        }
        Ok(Self {
            amount: not_negative("raised_by.amount", amount)?,
            from_ms,
            until_ms,
            cycles: (cycles > 0).then_some(cycles),
        })
    }
}

impl From<Override> for v1::LimitOverride {
    fn from(raised_by: Override) -> Self {
        Self {
            amount: raised_by.amount,
            from_ms: raised_by.from_ms,
            until_ms: raised_by.until_ms,
            cycles: raised_by.cycles.unwrap_or_default(),
        }
    }
}

pub(super) fn metric(message: i32) -> Result<Metric, ConvertError> {
    match v1::Metric::try_from(message) {
        Ok(v1::Metric::Cost) => Ok(Metric::Cost),
        Ok(v1::Metric::Requests) => Ok(Metric::Requests),
        Ok(v1::Metric::Tokens) => Ok(Metric::Tokens),
        Ok(v1::Metric::InFlight) => Ok(Metric::InFlight),
        Ok(v1::Metric::Unspecified) => Err(ConvertError::new("metric", Problem::Missing)),
        Err(prost::UnknownEnumValue(value)) => {
            Err(ConvertError::new("metric", Problem::Unknown(value)))
        }
    }
}

impl From<Metric> for v1::Metric {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::Cost => Self::Cost,
            Metric::Requests => Self::Requests,
            Metric::Tokens => Self::Tokens,
            Metric::InFlight => Self::InFlight,
        }
    }
}

fn alignment(
    calendar_aligned: bool,
    quarter_start_month: u32,
    boundaries_ms: Vec<i64>,
) -> Result<Alignment, ConvertError> {
    if !boundaries_ms.is_empty() {
        return Boundaries::new(boundaries_ms)
            .map(Alignment::Known)
            .ok_or_else(|| ConvertError::new("boundaries_ms", Problem::Disorder));
    }
    if !calendar_aligned {
        return Ok(Alignment::Rolling);
    }
    let month = u8::try_from(quarter_start_month.max(1)).ok();
    let month = month.filter(|month| *month <= 12).ok_or_else(|| {
        ConvertError::new("quarter_start_month", Problem::Month(quarter_start_month))
    })?;
    Ok(Alignment::Calendar(Calendar {
        quarter_start_month: month,
        ..Calendar::UTC
    }))
}

fn window(message: v1::Window) -> Result<Window, ConvertError> {
    let v1::Window { start_ms, end_ms } = message;
    if start_ms >= end_ms {
        return Err(ConvertError::new("open", Problem::Disorder));
    }
    Ok(Window { start_ms, end_ms })
}

impl v1::Limit {
    /// The message for a filter that reads it at about this time.
    pub fn at(limit: &Limit, now_ms: i64) -> Self {
        let limit = limit.known_at(now_ms);
        let (quarter_start_month, boundaries_ms) = match &limit.alignment {
            Alignment::Rolling => (0, Vec::new()),
            Alignment::Calendar(calendar) => (calendar.quarter_start_month.into(), Vec::new()),
            Alignment::Known(boundaries) => (0, boundaries.as_slice().to_vec()),
        };
        Self {
            id: limit.id,
            metric: v1::Metric::from(limit.metric).into(),
            max: limit.max,
            period: Some(limit.period.into()),
            anchor_ms: limit.anchor_ms,
            calendar_aligned: limit.alignment.is_calendar(),
            quarter_start_month,
            boundaries_ms,
            open: limit
                .open
                .map(|Window { start_ms, end_ms }| v1::Window { start_ms, end_ms }),
            raised_by: limit.raised_by.map(v1::LimitOverride::from),
        }
    }
}
