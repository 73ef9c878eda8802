"""Types of values that several documents use."""

from typing import Annotated, Literal

from pydantic import Field

Auto = Literal["auto"]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
