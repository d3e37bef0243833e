package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes.
type Size uint64

// The size units.
const (
	KB Size = 1 << 10
	MB Size = 1 << 20
	GB Size = 1 << 30
	TB Size = 1 << 40
	PB Size = 1 << 50
)

var (
	sizeUnits = map[string]uint64{
		"": 1, "b": 1, "kb": uint64(KB), "mb": uint64(MB), "gb": uint64(GB), "tb": uint64(TB), "pb": uint64(PB),
	}
	timeUnits = map[string]uint64{
		"": 1, "us": 1, "ms": 1000, "s": 1000 * 1000, "min": 60 * 1000 * 1000, "h": 3600 * 1000 * 1000,
	}
)

// ParseSize reads a size string, such as "20KB".
func ParseSize(s string) (Size, error) {
	n, err := parseUnit(s, sizeUnits, "B, KB, MB, GB, TB or PB", math.MaxInt64)
	return Size(n), err
}

// ParseTime reads a time string, such as "100ms". The longest is 292 years.
func ParseTime(s string) (time.Duration, error) {
	n, err := parseUnit(s, timeUnits, "us, ms, s, min or h", math.MaxInt64/1000)
	return time.Duration(n) * time.Microsecond, err
}

// parseUnit reads digits followed by one of units and returns their product.
func parseUnit(s string, units map[string]uint64, names string, limit uint64) (uint64, error) {
	digits := strings.TrimRightFunc(s, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' })
	unit := s[len(digits):]
	switch {
	case s == "":
		return 0, fmt.Errorf("is empty; write a whole number and one of %s", names)
	case strings.HasPrefix(digits, "-"):
		return 0, fmt.Errorf("%q is negative", s)
	case digits == "" || strings.Trim(digits, "0123456789") != "":
		return 0, fmt.Errorf("%q does not begin with a whole number; write one followed by one of %s", s, names)
	}
	factor, ok := units[strings.ToLower(unit)]
	if !ok {
		return 0, fmt.Errorf("%q has the unknown unit %q; write one of %s", s, unit, names)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > limit/factor {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return n * factor, nil
}

// String writes a size with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range []struct {
		name string
		size Size
	}{{"PB", PB}, {"TB", TB}, {"GB", GB}, {"MB", MB}, {"KB", KB}} {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatUint(uint64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatUint(uint64(s), 10) + "B"
}

// FormatTime writes a duration as a time string, with the largest unit that divides
// it; what is finer than a microsecond is cut off.
func FormatTime(d time.Duration) string {
	us := uint64(d / time.Microsecond)
	for _, unit := range []string{"h", "min", "s", "ms"} {
		if f := timeUnits[unit]; us != 0 && us%f == 0 {
			return strconv.FormatUint(us/f, 10) + unit
		}
	}
	return strconv.FormatUint(us, 10) + "us"
}
