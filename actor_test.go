package tutela_test

import (
	"go/ast"
	"go/parser"
	"slices"
	"testing"
)

// provenOtherwise are the use cases with an Actor that ask no rule on admins: their caller shows a ticket, a token or a
// code, or, for AddUser, acts on nobody who is there.
var provenOtherwise = []string{
	"device.Enroll", "device/login.Answer", "device/login.RedeemCode", "backup/restore.Start", "backup/restore.RestoreWithCode",
	"recovery.AddUser",
}

// A use case that takes an Actor, and no proof of a phone, acts on a user for somebody else: it asks the rule where it
// finds the user, by itself or by a function of its package.
func TestHouse_EveryUseCaseOfAnAdminAsksWhetherItsActorMay(t *testing.T) {
	asking := map[string]bool{"FindFor": true, "GetFor": true, "May": true}
	methods := map[string]*ast.FuncDecl{}
	for _, f := range readTree(t, parser.SkipObjectResolution) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				methods[f.pkg+"."+fn.Name.Name] = fn
			}
		}
	}
	var asks func(pkg string, fn *ast.FuncDecl, deep bool) bool
	asks = func(pkg string, fn *ast.FuncDecl, deep bool) (found bool) {
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			called, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, _ := called.X.(*ast.Ident)
			if of != nil && of.Name == "user" && asking[called.Sel.Name] {
				found = true
			}
			if helper := methods[pkg+"."+called.Sel.Name]; deep && of != nil && of.Name == "s" && helper != nil {
				found = found || asks(pkg, helper, false)
			}
			return true
		})
		return found
	}
	checked := 0
	for _, f := range readTree(t, parser.SkipObjectResolution) {
		if floor, _ := floorOf(f.pkg); floor >= serverFloor() {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || !fn.Name.IsExported() || !takes(fn, "audit.Actor") || takes(fn, "device.Proof") || takes(fn, "Proof") || takes(fn, "storage.Tx") {
				continue
			}
			name := f.pkg + "." + fn.Name.Name
			if slices.Contains(provenOtherwise, name) {
				continue
			}
			checked++
			if !asks(f.pkg, fn, true) {
				t.Errorf("%s: %s takes an Actor and never asks user.May, FindFor or GetFor", f.path, name)
			}
		}
	}
	if checked < 8 {
		t.Errorf("only %d use cases were looked at", checked)
	}
}

// serverFloor is the floor of the server: above it nothing is a use case.
func serverFloor() int {
	floor, _ := floorOf("server")
	return floor
}

// takes reports whether a function has a parameter of a type, or of a pointer to it.
func takes(fn *ast.FuncDecl, name string) bool {
	for _, p := range fn.Type.Params.List {
		of := p.Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		switch of := of.(type) {
		case *ast.Ident:
			if of.Name == name {
				return true
			}
		case *ast.SelectorExpr:
			if x, ok := of.X.(*ast.Ident); ok && x.Name+"."+of.Sel.Name == name {
				return true
			}
		}
	}
	return false
}
