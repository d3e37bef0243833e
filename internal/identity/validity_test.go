package identity

import (
	"strings"
	"testing"
	"time"
)

func TestParseValidFrom(t *testing.T) {
	day := func(h, m, s int) time.Time { return time.Date(2026, 11, 25, h, m, s, 0, time.UTC) }
	for in, want := range map[string]time.Time{
		"261125031032Z":                    day(3, 10, 32),
		"20261125031032Z":                  day(3, 10, 32),
		"2026-11-25 03:10:32":              day(3, 10, 32),
		"2026-11-25T03:10:32":              day(3, 10, 32),
		"2026-11-25 03:10:32.999999":       day(3, 10, 32),
		"2026-11-25T03:10:32.5":            day(3, 10, 32),
		"2026-11-25 03:10:32.0 +01:00":     day(2, 10, 32),
		"2026-11-25T03:10:32.123456+00:00": day(3, 10, 32),
		"2026-11-25 03:10:32 -01:30":       day(4, 40, 32),
		"2026-11-25 03:10:32.1 +0100":      day(2, 10, 32),
		"261125031032+0100":                day(2, 10, 32),
		"20261125031032.5-0030":            day(3, 40, 32),
		"491231235959Z":                    time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC),
		"500101000000Z":                    time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC),
		"99991231235959Z":                  time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		"2024-02-29 00:00:00":              time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
	} {
		got, err := ParseValidFrom(in)
		if err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "now", "2026-11-25", "2026-11-25 03:10", "261125031032", "2611250310Z", " 261125031032Z",
		"261125031032Z ", "2026-13-01 00:00:00", "2026-02-29 00:00:00", "2026-11-25 24:00:00",
		"2026-11-25 03:60:32", "2026-11-25 03:10:61", "2026-11-25 03:10:32.", "2026-11-25 03:10:32 +24:00",
		"2026-11-25 03:10:32 +00:60", "2026-11-25 03:10:32Z", "261125031032.5Z", "261125031032+2400", "261125031032Z+0100", "-026-11-25 03:10:32", "２026-11-25 03:10:32",
		strings.Repeat("9", 1000),
	} {
		if got, err := ParseValidFrom(in); err == nil {
			t.Errorf("%q was accepted as %v", in, got)
		} else if len(err.Error()) > 200 {
			t.Errorf("error of %d characters", len(err.Error()))
		}
	}
}

func FuzzValidFrom(f *testing.F) {
	for _, s := range []string{"261125031032Z", "20261125031032Z", "2026-11-25T03:10:32.5 +01:00", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseValidFrom(s)
		if err != nil {
			return
		}
		again, err := ParseValidFrom(got.Format("2006-01-02 15:04:05"))
		if got.Year() >= 0 && got.Year() <= 9999 && (err != nil || !again.Equal(got)) {
			t.Errorf("%q reads as %v, which reads as %v, %v", s, got, again, err)
		}
	})
}

func TestValidFor(t *testing.T) {
	from := time.Date(2026, 11, 25, 3, 10, 32, 999, time.FixedZone("x", 3600))
	v, err := ValidFor(from, 90)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 11, 25, 2, 10, 32, 0, time.UTC); !v.NotBefore.Equal(want) {
		t.Errorf("not before %v, want %v", v.NotBefore, want)
	}
	if got := v.NotAfter.Sub(v.NotBefore); got != 90*24*time.Hour-time.Second {
		t.Errorf("valid for %v", got)
	}
	for _, days := range []int{0, -1, maxDays + 1, maxDays} {
		if _, err := ValidFor(from, days); err == nil {
			t.Errorf("%d days were accepted", days)
		}
	}
	if _, err := ValidFor(time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), 1); err == nil {
		t.Error("the year 1900 was accepted")
	}
}
