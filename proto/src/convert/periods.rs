//! How long windows are.

use reeve_policy::period::{Period, Unit};

use super::{ConvertError, Problem};
use crate::v1;

impl TryFrom<v1::Period> for Period {
    type Error = ConvertError;

    fn try_from(message: v1::Period) -> Result<Self, ConvertError> {
        let unit = match v1::PeriodUnit::try_from(message.unit) {
            Ok(v1::PeriodUnit::Second) => Unit::Second,
            Ok(v1::PeriodUnit::Minute) => Unit::Minute,
            Ok(v1::PeriodUnit::Hour) => Unit::Hour,
            Ok(v1::PeriodUnit::Day) => Unit::Day,
            Ok(v1::PeriodUnit::Week) => Unit::Week,
            Ok(v1::PeriodUnit::Month) => Unit::Month,
            Ok(v1::PeriodUnit::Quarter) => Unit::Quarter,
            Ok(v1::PeriodUnit::Year) => Unit::Year,
            Ok(v1::PeriodUnit::Never) => Unit::Never,
            Ok(v1::PeriodUnit::Unspecified) => {
                return Err(ConvertError::new("period.unit", Problem::Missing));
            }
            Err(prost::UnknownEnumValue(value)) => {
                return Err(ConvertError::new("period.unit", Problem::Unknown(value)));
            }
        };
        Self::new(message.count, unit)
            .map_err(|error| ConvertError::new("period", Problem::Period(error)))
    }
}

impl From<Period> for v1::Period {
    fn from(period: Period) -> Self {
        let unit = match period.unit() {
            Unit::Second => v1::PeriodUnit::Second,
            Unit::Minute => v1::PeriodUnit::Minute,
            Unit::Hour => v1::PeriodUnit::Hour,
            Unit::Day => v1::PeriodUnit::Day,
            Unit::Week => v1::PeriodUnit::Week,
            Unit::Month => v1::PeriodUnit::Month,
            Unit::Quarter => v1::PeriodUnit::Quarter,
            Unit::Year => v1::PeriodUnit::Year,
            Unit::Never => v1::PeriodUnit::Never,
        };
        Self {
            count: period.count(),
            unit: unit.into(),
        }
    }
}
