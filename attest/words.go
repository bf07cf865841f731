package attest

import "fmt"

// Words puts an outcome as people say it.
func Words(r Result) string {
	how := "verified"
	if r.Verification.Mode == "status" {
		how = "status only"
	}
	achieved := map[string]string{"clear": "CLEARED", "purge": "PURGED"}[r.Outcome.Method]
	switch r.Outcome.Status {
	case "sanitized":
		return achieved + " " + how
	case "exceptions":
		return fmt.Sprintf("%s %s, but for %d bytes", achieved, how, r.Outcome.ExceptionBytes)
	case "refused":
		return "REFUSED - not touched"
	case "unproven":
		return "UNPROVEN - holds data"
	case "interrupted":
		return "INTERRUPTED - holds data"
	case "unknown":
		return "UNKNOWN - treat as holding data"
	}
	return "FAILED - holds data"
}

// ReadBack says what was read of a drive after its sanitization, and what that showed.
func ReadBack(v Verification) string {
	if v.Mode == "status" {
		return "nothing (completion status only)"
	}
	if v.Result == "none" || v.Samples == 0 && v.Bytes == 0 && v.ReadErrors == 0 {
		return "nothing: it did not come to that (planned: " + v.Mode + ")"
	}
	if v.Samples == 1 {
		return fmt.Sprintf("%s, %s: %d bytes, %.1f %% of the drive, %d mismatches, %d read errors",
			v.Mode, v.Result, v.Bytes, float64(v.CoveragePPM)/1e4, v.Mismatches, v.ReadErrors)
	}
	return fmt.Sprintf("%s, %s: %d bytes in %d areas, %.1f %% of the drive, %d mismatches, %d read errors",
		v.Mode, v.Result, v.Bytes, v.Samples, float64(v.CoveragePPM)/1e4, v.Mismatches, v.ReadErrors)
}
