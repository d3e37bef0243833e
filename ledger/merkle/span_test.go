package merkle

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSpan cuts leaves into spans anywhere, and joins them.
func TestSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, joined := New(), new(Frontier)
		for range rapid.IntRange(1, 12).Draw(t, "spans") {
			s := NewSpan(joined.Size())
			for range rapid.IntRange(0, 200).Draw(t, "leaves") {
				leaf := leafN(int(whole.Size()))
				whole.Append(leaf)
				s.Append(leaf)
			}
			joined.Join(&s)
			if joined.Size() != whole.Size() {
				t.Fatalf("%d leaves, want %d", joined.Size(), whole.Size())
			}
			if whole.Size() > 0 && joined.Root() != whole.Root() {
				t.Fatalf("another root over %d leaves", whole.Size())
			}
		}
		defer func() {
			if recover() == nil {
				t.Fatal("a span was joined where it does not begin")
			}
		}()
		s := NewSpan(joined.Size() + 1)
		joined.Join(&s)
	})
}
