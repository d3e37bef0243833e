package kv_test

import (
	"testing"

	"chancery/kv"
)

// TestExceeds: what a transaction would write counts, not what it wrote on the way.
func TestExceeds(t *testing.T) {
	tx := kv.NewStore().Begin()
	for range 10 {
		tx.Put("a", []byte("key"), make([]byte, 97))
	}
	tx.Put("b", []byte("gone"), make([]byte, 1000))
	tx.Delete("b", []byte("gone"))
	if tx.Exceeds(100) || !tx.Exceeds(99) {
		t.Errorf("100 bytes exceed 100: %t, 99: %t", tx.Exceeds(100), tx.Exceeds(99))
	}
}
