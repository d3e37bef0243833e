package server

import (
	"net/http"
	"strconv"
	"strings"

	"chancery/server/api"
)

// parseRange parses a Range header over size bytes: one range of bytes, "X-Y", "X-"
// or "-N". It returns from and to, half open. The end is clamped; a suffix longer than
// the file is the whole file. Anything else is 400, as in CCF, which knows no 416.
func parseRange(header string, size int64) (from, to int64, err error) {
	bad := func(format string, args ...any) (int64, int64, error) {
		return 0, 0, api.Errorf(http.StatusBadRequest, api.InvalidHeaderValue, format, args...)
	}
	unit, ranges, _ := strings.Cut(header, "=")
	if unit != "bytes" {
		return bad("Only 'bytes' is supported as a Range header unit")
	}
	if strings.Contains(ranges, ",") {
		return bad("Multiple ranges are not supported")
	}
	first, last, ok := strings.Cut(ranges, "-")
	if !ok || strings.Contains(last, "-") {
		return bad("Invalid format, cannot parse range in %s", header)
	}
	if first == "" {
		if last == "" {
			return bad("Invalid range: Must contain range-start or range-end")
		}
		n, ok := position64(last)
		if !ok || n == 0 {
			return bad("Unable to parse end of range offset value %s in %s", last, header)
		}
		return size - min(n, size), size, nil
	}
	from, ok = position64(first)
	if !ok {
		return bad("Unable to parse start of range value %s in %s", first, header)
	}
	if from >= size {
		return bad("Start of range %d is larger than total file size %d", from, size)
	}
	if last == "" {
		return from, size, nil
	}
	end, ok := position64(last)
	if !ok {
		return bad("Unable to parse end of range value %s in %s", last, header)
	}
	to = min(end, size-1) + 1
	if to <= from {
		return bad("Invalid range: Start (%d) and end (%d) out of order", from, to)
	}
	return from, to, nil
}

// position64 parses a position in a file: decimal digits only.
func position64(s string) (int64, bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
