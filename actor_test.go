package tutela_test

import (
	"go/ast"
	"go/parser"
	"slices"
	"strings"
	"testing"
)

// byTheUser are the use cases with an Actor of which the user shows a ticket, a token or a code.
var byTheUser = []string{
	"device.Enroll", "device.ConfirmOTP", "device/passkey.EnrollByTicket", "device/login.Answer", "device/login.RedeemCode", "device/login.RedeemOTP", "device/login.RemoveAuthenticator", "device/login.Recover", "device/login.VerifyOTP",
	"backup/restore.Start", "backup/restore.RestoreWithCode",
	"backup/restore.FirstTimeSetup", "backup/restore.State",
	"recovery/admin/signin.AcceptInvite", "recovery/admin/signin.SignIn", "recovery/admin/signin.ProveAgain", "recovery/admin/signin.SignOut",
	"recovery/admin/signin.AddPasskey", "recovery/admin/signin.RemoveOwnPasskey",
}

// ofAdmins are the use cases with an Actor by which one admin lets another in, or puts him out. They have rules of their own, beside May.
var ofAdmins = map[string]string{
	"recovery/admin/signin.Invite":        "mayInvite",
	"recovery/admin/signin.RemovePasskey": "mayInvite",
	"recovery/admin/signin.EndSession":    "mayEnd",
}

// ofTheHouse are the use cases with an Actor that change the installation and no user.
var ofTheHouse = []string{
	"device/push/provider.SetFCM", "device/push/provider.SetAPNs",
	"recovery/signal.Add", "recovery/signal.Change", "recovery/signal.Remove", "recovery/signal.SetStatus", "recovery/signal.Verify",
	"recovery/signal.AddSubject", "recovery/signal.RemoveSubject", "recovery/signal.Poll", "recovery/signal.Stream", "recovery/signal.Streams",
	"recovery/webhook.Add", "recovery/webhook.Change", "recovery/webhook.Remove", "recovery/webhook.Rotate", "recovery/webhook.Test", "recovery/webhook.Retry",
}

// A use case that takes an Actor, and no proof of the user, acts on a user for somebody else. All of them are in one
// package.
func TestHouse_AdminsHaveOnePackageForAllThatTheyDo(t *testing.T) {
	found := 0
	for name, fn := range useCasesWithActor(t) {
		if strings.HasPrefix(name, "recovery/admin.") {
			found++
		} else if rule := ofAdmins[name]; rule != "" {
			if !calls(fn, rule) {
				t.Errorf("%s never asks %s", name, rule)
			}
		} else if strings.HasPrefix(name, "device/own.") {
			continue // the session that a person has opened by a proof: TestEveryUseCase_IsRefusedWithoutASession holds that each asks for it
		} else if !slices.Contains(byTheUser, name) && !slices.Contains(ofTheHouse, name) {
			t.Errorf("%s acts on a user for somebody else, and is not in recovery/admin", name)
		}
	}
	if found < 8 {
		t.Errorf("only %d use cases of admins were looked at", found)
	}
}

// asking are the functions of recovery/admin that ask the rule, of an act or of a look.
var asking = []string{"May", "find", "mayRead", "look"}

// calls reports whether a function calls another by its name.
func calls(fn *ast.FuncDecl, name string) (found bool) {
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if called, ok := n.(*ast.CallExpr); ok {
			by, _ := called.Fun.(*ast.Ident)
			found = found || by != nil && by.Name == name
		}
		return true
	})
	return found
}

// Each asks the rule where it finds the user, by itself or by a function of its package. AddUser acts on nobody who is there.
func TestHouse_EveryUseCaseOfAnAdminAsksWhetherItsActorMay(t *testing.T) {
	useCases := useCasesWithActor(t)
	methods := map[string]*ast.FuncDecl{}
	for _, f := range readTree(t, parser.SkipObjectResolution) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.pkg == "recovery/admin" {
				methods[fn.Name.Name] = fn
			}
		}
	}
	var asks func(fn *ast.FuncDecl, depth int) bool
	asks = func(fn *ast.FuncDecl, depth int) (found bool) {
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				found = found || slices.Contains(asking, n.Name)
			case *ast.SelectorExpr:
				helper := methods[n.Sel.Name]
				of, _ := n.X.(*ast.Ident)
				found = found || depth > 0 && helper != nil && of != nil && of.Name == "s" && asks(helper, depth-1)
			}
			return true
		})
		return found
	}
	for name, fn := range useCases {
		if strings.HasPrefix(name, "recovery/admin.") && fn.Name.Name != "AddUser" && !asks(fn, 2) {
			t.Errorf("%s takes an Actor and never asks May", name)
		}
	}
}

// useCasesWithActor are the exported methods below the server that take an Actor, and neither a phone's proof nor an open
// transaction, by package and name.
func useCasesWithActor(t *testing.T) map[string]*ast.FuncDecl {
	t.Helper()
	found := map[string]*ast.FuncDecl{}
	for _, f := range readTree(t, parser.SkipObjectResolution) {
		if floor, _ := floorOf(f.pkg); floor >= serverFloor() {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || !fn.Name.IsExported() || !takes(fn, "audit.Actor") ||
				takes(fn, "device.Proof") || takes(fn, "Proof") || takes(fn, "storage.Tx") {
				continue
			}
			found[f.pkg+"."+fn.Name.Name] = fn
		}
	}
	return found
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
