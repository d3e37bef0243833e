package kv_test

import (
	"errors"
	"fmt"

	"chancery/kv"
)

// Two transactions count the open orders before they add one. The second to
// commit would have counted otherwise had it run later, and is run again.
func Example() {
	store := kv.NewStore()
	addOrder := func(tx *kv.Tx, name string) {
		n := 0
		for range tx.Range("orders", kv.Prefix([]byte("open/"))) {
			n++
		}
		tx.Put("orders", []byte("open/"+name), fmt.Append(nil, "after ", n, " others"))
	}

	first, second := store.Begin(), store.Begin()
	addOrder(first, "a")
	addOrder(second, "b")

	ws, err := store.Commit(first, kv.TxID{View: 2, Seqno: 1})
	fmt.Printf("%s: %s, %v\n", ws[0].Writes[0].Key, ws[0].Writes[0].Value, err)
	_, err = store.Commit(second, kv.TxID{View: 2, Seqno: 2})
	fmt.Println(errors.Is(err, kv.ErrConflict), store.Head().TxID())

	again := store.Begin()
	addOrder(again, "b")
	ws, err = store.Commit(again, kv.TxID{View: 2, Seqno: 2})
	fmt.Printf("%s: %s, %v\n", ws[0].Writes[0].Key, ws[0].Writes[0].Value, err)
	// Output:
	// open/a: after 0 others, <nil>
	// true 2.1
	// open/b: after 1 others, <nil>
}
