package sanitize

import "github.com/expunge-dev/expunge/sanitize/journal"

// DeviceErrors is how many errors of its drive a record tells of, and what was asked of the drive: "write" and "read" are stretches of blocks
// that could not be, "erase" is a command that the drive was to erase itself by and did not complete, or of which nobody knows whether it did.
// What cannot be decoded tells of none: whether a journal holds is not judged here.
func DeviceErrors(r journal.Record) (op string, n int) {
	switch r.Kind {
	case kindExtents:
		var x extentsRecord
		if r.Decode(&x) == nil {
			return "write", len(x.Failed)
		}
	case kindVerified:
		var x verifiedRecord
		if r.Decode(&x) == nil {
			return "read", len(x.Failed)
		}
	case kindSent:
		var x sentRecord
		if r.Decode(&x) == nil && x.Error != "" {
			return "erase", 1
		}
	}
	return "", 0
}

// NodeOf is the node of the drive, where a record says which it is today; "" elsewhere.
func NodeOf(r journal.Record) string {
	var x reidentifiedRecord
	if r.Kind != kindReidentified || r.Decode(&x) != nil {
		return ""
	}
	return x.Node
}

// HeatOf is how warm the drive said that it is, and its own limit, where a record has that; nil is what it did not say.
func HeatOf(r journal.Record) (degrees, limit *int64, is bool) {
	var x healthRecord
	if r.Kind != kindHealth || r.Decode(&x) != nil {
		return nil, nil, false
	}
	var t temperatures
	t.take(x.Health)
	return t.now, t.warning, true
}
