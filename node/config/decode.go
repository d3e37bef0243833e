package config

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaulter is a struct whose defaults are not its zero value. It is asked for them
// before a value of its type is read from the file.
type defaulter interface{ setDefaults() }

// rawKeeper is a struct that keeps its JSON object as it stands in the file.
type rawKeeper interface{ setRaw(json.RawMessage) }

// enumerated is a string type that takes only the values listed.
type enumerated interface{ Enum() []string }

// refusing is an enumerated type of which CCF has values that are not taken here.
type refusing interface{ Refused(value string) string }

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	commandType  = reflect.TypeFor[Command]()
)

// rules are what a field's tags say.
type rules struct {
	key                      string
	required, nullable, none bool
	min                      *int64
}

// fieldRules reads the tags of a field; ok is false for one that is not a key.
func fieldRules(f reflect.StructField) (r rules, ok bool) {
	r.key = f.Tag.Get("json")
	if !f.IsExported() || r.key == "-" || r.key == "" {
		return r, false
	}
	for _, word := range strings.Split(f.Tag.Get("config"), ",") {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "":
		case "required":
			r.required = true
		case "nullable":
			r.nullable = true
		case "none":
			r.none = true
		case "min":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				panic("config: bad min in the tag of " + f.Name)
			}
			r.min = &n
		default:
			panic("config: unknown rule in the tag of " + f.Name)
		}
	}
	return r, true
}

// decoder fills structs from a tree and collects everything that does not fit.
type decoder struct {
	source []byte // that the tree was read from
	problems
}

// object reads a JSON object into a struct. optional drops the demand for required
// keys (a command section that is not selected).
func (d *decoder) object(path string, v any, into reflect.Value, optional bool) {
	o, ok := v.(*object)
	if !ok {
		d.add(path, "must be an object, not %s", kindOf(v))
		return
	}
	for _, key := range o.twice {
		d.add(join(path, key), "is given twice")
	}
	var known []string
	for i := range into.NumField() {
		r, ok := fieldRules(into.Type().Field(i))
		if !ok {
			continue
		}
		known = append(known, r.key)
		value, given := o.values[r.key]
		switch {
		case !given && r.required && !optional:
			d.add(join(path, r.key), "is missing")
		case !given, value == nil && r.nullable && into.Field(i).Kind() != reflect.Pointer:
		case value == nil && r.nullable:
			into.Field(i).SetZero()
		case into.Type() == commandType && into.Field(i).Kind() == reflect.Struct:
			d.object(join(path, r.key), value, into.Field(i), !selected(o, r.key))
		default:
			d.value(join(path, r.key), value, into.Field(i), r, optional)
		}
	}
	for _, key := range o.keys {
		if !slices.Contains(known, key) {
			d.unknown(path, key, known)
		}
	}
	if raw, ok := into.Addr().Interface().(rawKeeper); ok {
		raw.setRaw(slices.Clone(d.source[o.from:o.to]))
	}
	if c, ok := into.Addr().Interface().(*Command); ok {
		c.given = map[string]bool{}
		for _, key := range o.keys {
			c.given[key] = true
		}
	}
}

// selected says whether a command object's type selects its section.
func selected(command *object, section string) bool {
	t, _ := command.values["type"].(string)
	return strings.ToLower(t) == section
}

// value reads one value of any supported type.
func (d *decoder) value(path string, v any, into reflect.Value, r rules, optional bool) {
	if v == nil {
		d.add(path, "must not be null")
		return
	}
	switch into.Type() {
	case durationType:
		d.unit(path, v, func(s string) error {
			t, err := ParseTime(s)
			into.SetInt(int64(t))
			return err
		})
		return
	case sizeType:
		d.unit(path, v, func(s string) error {
			n, err := ParseSize(s)
			into.SetUint(uint64(n))
			return err
		})
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		setDefaults(into)
		d.value(path, v, into.Elem(), r, optional)
	case reflect.Struct:
		d.object(path, v, into, optional)
	case reflect.Map:
		d.mapping(path, v, into)
	case reflect.Slice:
		d.list(path, v, into, optional)
	case reflect.String:
		d.text(path, v, into, r)
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			into.SetBool(b)
		} else {
			d.add(path, "must be true or false, not %s", kindOf(v))
		}
	case reflect.Int64:
		d.integer(path, v, into, r)
	default:
		panic(fmt.Sprintf("config: %s has the unsupported type %s", path, into.Type()))
	}
}

// unit reads a time or size string; "None" leaves the default.
func (d *decoder) unit(path string, v any, set func(string) error) {
	s, ok := v.(string)
	if !ok {
		d.add(path, "must be a string with a unit, not %s", kindOf(v))
		return
	}
	if s == "None" {
		return
	}
	if err := set(s); err != nil {
		d.add(path, "%v", err)
	}
}

func (d *decoder) text(path string, v any, into reflect.Value, r rules) {
	s, ok := v.(string)
	if !ok {
		d.add(path, "must be a string, not %s", kindOf(v))
		return
	}
	if r.none && s == "None" {
		into.SetString("")
		return
	}
	if e, ok := into.Interface().(enumerated); ok && !slices.Contains(e.Enum(), s) {
		d.enum(path, s, e)
		return
	}
	into.SetString(s)
}

// enum reports a value that is not among those of its type.
func (d *decoder) enum(path, s string, e enumerated) {
	if r, ok := e.(refusing); ok {
		if reason := r.Refused(s); reason != "" {
			d.add(path, "%s", reason)
			return
		}
	}
	d.add(path, "%q is not one of %s", s, strings.Join(e.Enum(), ", "))
}

func (d *decoder) integer(path string, v any, into reflect.Value, r rules) {
	number, ok := v.(json.Number)
	if !ok {
		d.add(path, "must be a whole number, not %s", kindOf(v))
		return
	}
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		f, ferr := number.Float64() // 1e3 and 2.0 are whole numbers too
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			d.add(path, "must be a whole number, not %s", number)
			return
		}
		n = int64(f)
	}
	switch {
	case r.min != nil && *r.min == 0 && n < 0:
		d.add(path, "must not be negative, but is %d", n)
	case r.min != nil && n < *r.min:
		d.add(path, "must be at least %d, but is %d", *r.min, n)
	default:
		into.SetInt(n)
	}
}

func (d *decoder) list(path string, v any, into reflect.Value, optional bool) {
	items, ok := v.([]any)
	if !ok {
		d.add(path, "must be an array, not %s", kindOf(v))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(items), len(items)))
	for i, item := range items {
		setDefaults(into.Index(i).Addr())
		d.value(fmt.Sprintf("%s[%d]", path, i), item, into.Index(i), rules{}, optional)
	}
}

func (d *decoder) mapping(path string, v any, into reflect.Value) {
	o, ok := v.(*object)
	if !ok {
		d.add(path, "must be an object, not %s", kindOf(v))
		return
	}
	for _, key := range o.twice {
		d.add(join(path, key), "is given twice")
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, key := range o.keys {
		element := reflect.New(into.Type().Elem())
		setDefaults(element)
		d.value(join(path, key), o.values[key], element.Elem(), rules{}, false)
		into.SetMapIndex(reflect.ValueOf(key), element.Elem())
	}
}

// setDefaults gives the struct behind a pointer its defaults, if it has any.
func setDefaults(pointer reflect.Value) {
	if s, ok := pointer.Interface().(defaulter); ok {
		s.setDefaults()
	}
}

// kindOf names the JSON type of a value for an error message.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case *object:
		return "an object"
	case []any:
		return "an array"
	case string:
		return fmt.Sprintf("the string %.40q", v)
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return "the number " + string(v)
	}
	return "this"
}
