package identity

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Validity is the time for which a certificate holds, in whole seconds of UTC,
// both ends included.
type Validity struct{ NotBefore, NotAfter time.Time }

// maxDays is more than the days in the four-digit years of X.509.
const maxDays = 3_000_000

// ValidFor returns the validity of so many days from a moment on: notAfter is
// one second before the same time of day.
func ValidFor(from time.Time, days int) (Validity, error) {
	if days < 1 || days > maxDays {
		return Validity{}, fmt.Errorf("certificate validity of %d days is impossible", days)
	}
	v := Validity{NotBefore: from.UTC().Truncate(time.Second)}
	v.NotAfter = v.NotBefore.AddDate(0, 0, days).Add(-time.Second)
	if v.NotBefore.Year() < 1950 || v.NotAfter.Year() > 9999 {
		return Validity{}, fmt.Errorf("certificate validity of %d days from %s is impossible",
			days, from.Format(time.DateOnly))
	}
	return v, nil
}

// The forms of valid_from in governance actions, after CCF's reading of them.
// Fractions of a second are dropped.
var (
	compactTime = regexp.MustCompile(
		`^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(?:Z|(?:\.\d{1,9})?([+-]\d{2})(\d{2}))$`)
	dashedTime = regexp.MustCompile(
		`^(\d{4})-(\d{2})-(\d{2})[ T](\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?(?: ?([+-]\d{2}):?(\d{2}))?$`)
)

// maxTimeText bounds what ParseValidFrom looks at.
const maxTimeText = 64

// ParseValidFrom reads a start of validity, in UTC:
//
//	YYMMDDhhmmssZ                     years from 50 on are 19YY; an offset +hhmm,
//	YYYYMMDDhhmmssZ                   after a fraction or not, may replace the Z
//	YYYY-MM-DD hh:mm:ss               a T may stand for the space,
//	YYYY-MM-DD hh:mm:ss.f +hh:mm      fraction and offset may each be absent
//
// The date and the time of day must exist.
func ParseValidFrom(s string) (time.Time, error) {
	if len(s) > maxTimeText {
		return time.Time{}, fmt.Errorf("time of %d characters does not match any accepted time format", len(s))
	}
	m := compactTime.FindStringSubmatch(s)
	if m == nil {
		m = dashedTime.FindStringSubmatch(s)
	}
	if m == nil {
		return time.Time{}, fmt.Errorf("%q does not match any accepted time format", s)
	}
	var n [6]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[1+i]) // digits only
	}
	if len(m[1]) == 2 {
		n[0] += 2000
		if n[0] >= 2050 {
			n[0] -= 100
		}
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC)
	if t.Year() != n[0] || int(t.Month()) != n[1] || t.Day() != n[2] ||
		t.Hour() != n[3] || t.Minute() != n[4] || t.Second() != n[5] {
		return time.Time{}, fmt.Errorf("%q is no time that exists", s)
	}
	if m[7] != "" {
		offset, ok := zoneOffset(m[7], m[8])
		if !ok {
			return time.Time{}, fmt.Errorf("%q has an impossible offset", s)
		}
		t = t.Add(-offset)
	}
	return t, nil
}

// zoneOffset reads "+hh" and "mm".
func zoneOffset(hours, minutes string) (time.Duration, bool) {
	h, _ := strconv.Atoi(hours[1:])
	m, _ := strconv.Atoi(minutes)
	if h > 23 || m > 59 {
		return 0, false
	}
	d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if hours[0] == '-' {
		d = -d
	}
	return d, true
}
