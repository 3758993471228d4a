"""The lab tier: converge over SSH, prove, break, mend."""
