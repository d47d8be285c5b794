package main

import (
	"context"
	"errors"
	"strings"

	"github.com/auth0/go-auth0"
	"github.com/auth0/go-auth0/management"
)

func (c *goClient) users() {
	ada := &management.User{
		ID:         auth0.String("auth0|ada/1"),
		Connection: auth0.String("Username-Password-Authentication"),
		Email:      auth0.String("ada@example.com"),
		Password:   auth0.String("dropped"),
	}
	c.ids = append(c.ids, ada.GetID())
	id := ada.GetID()
	c.step("User.Create", func(ctx context.Context) error { return c.User.Create(ctx, ada) })
	c.step("User.Read", func(ctx context.Context) error {
		u, err := c.User.Read(ctx, id)
		return errors.Join(err, expectThat(u.GetEmail() == "ada@example.com" && u.GetNickname() == "ada", u))
	})
	c.step("User.Update", func(ctx context.Context) error {
		return c.User.Update(ctx, id, &management.User{AppMetadata: &map[string]any{"plan": "gold"}, Name: auth0.String("Ada")})
	})
	c.step("User.List", func(ctx context.Context) error {
		list, err := c.User.List(ctx, management.PerPage(10))
		return errors.Join(err, expectThat(list.Total >= 2 && len(list.Users) == list.Total, list))
	})
	c.step("User.Search", func(ctx context.Context) error {
		list, err := c.User.Search(ctx, management.Query(`email:"ada@example.com"`))
		return errors.Join(err, expectThat(len(list.Users) == 1 && list.Users[0].GetName() == "Ada", list))
	})
	c.step("User.ListByEmail", func(ctx context.Context) error {
		list, err := c.User.ListByEmail(ctx, "ada@example.com")
		return errors.Join(err, expectThat(len(list) == 1, list))
	})
	c.step("User.Blocks", func(ctx context.Context) error {
		_, err := c.User.Blocks(ctx, id)
		return err
	})
	c.step("User.BlocksByIdentifier", func(ctx context.Context) error {
		_, err := c.User.BlocksByIdentifier(ctx, "ada@example.com")
		return err
	})
	c.step("User.Unblock", func(ctx context.Context) error { return c.User.Unblock(ctx, id) })
	c.step("User.UnblockByIdentifier", func(ctx context.Context) error { return c.User.UnblockByIdentifier(ctx, "ada@example.com") })
	c.step("User.RegenerateRecoveryCode", func(ctx context.Context) error {
		code, err := c.User.RegenerateRecoveryCode(ctx, id)
		return errors.Join(err, expectThat(len(code.GetRecoveryCode()) == 24, "a code of another length"))
	})
	c.step("User.GetUserLogs", func(ctx context.Context) error {
		_, err := c.User.GetUserLogs(ctx, id)
		return err
	})
	c.step("User.InvalidateRememberBrowser", func(ctx context.Context) error { return c.User.InvalidateRememberBrowser(ctx, id) })
	c.methods(id)
	c.step("User.Delete", func(ctx context.Context) error { return c.User.Delete(ctx, id) })
	c.step("User.Read, of one who is gone", func(ctx context.Context) error {
		_, err := c.User.Read(ctx, id)
		return err
	})
}

// methods are the authentication methods of a user who has none yet.
func (c *goClient) methods(id string) {
	made := &management.AuthenticationMethod{
		Type:       auth0.String("totp"),
		Name:       auth0.String("old app"),
		TOTPSecret: auth0.String("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
	}
	c.step("User.CreateAuthenticationMethod", func(ctx context.Context) error { return c.User.CreateAuthenticationMethod(ctx, id, made) })
	method := made.GetID()
	if method == "" {
		method = "totp|dev_0000000000000000"
	}
	c.ids = append(c.ids, method)
	c.step("User.ListAuthenticationMethods", func(ctx context.Context) error {
		_, err := c.User.ListAuthenticationMethods(ctx, id)
		return err
	})
	c.step("User.GetAuthenticationMethodByID", func(ctx context.Context) error {
		_, err := c.User.GetAuthenticationMethodByID(ctx, id, method)
		return err
	})
	c.step("User.UpdateAuthenticationMethod", func(ctx context.Context) error {
		return c.User.UpdateAuthenticationMethod(ctx, id, method, &management.AuthenticationMethod{Name: auth0.String("her app")})
	})
	c.step("User.DeleteAuthenticationMethod", func(ctx context.Context) error { return c.User.DeleteAuthenticationMethod(ctx, id, method) })
	c.step("User.UpdateAllAuthenticationMethods", func(ctx context.Context) error {
		return c.User.UpdateAllAuthenticationMethods(ctx, id, &[]management.AuthenticationMethod{{
			Type:       auth0.String("totp"),
			Name:       auth0.String("another app"),
			TOTPSecret: auth0.String("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
		}})
	})
	c.step("User.DeleteAllAuthenticationMethods", func(ctx context.Context) error { return c.User.DeleteAllAuthenticationMethods(ctx, id) })
}

func (c *goClient) enrollments() {
	guardian := c.Guardian.Enrollment
	phone := c.m.phone.Enrollment().ID
	c.step("Guardian.Enrollment.CreateTicket", func(ctx context.Context) error {
		ticket, err := guardian.CreateTicket(ctx, &management.CreateEnrollmentTicket{UserID: "auth0|bob"})
		return errors.Join(err, expectThat(len(ticket.TicketID) == 32 && strings.HasPrefix(ticket.TicketURL, c.m.url+"/mfa/enrollment?ticket="), ticket))
	})
	c.step("Guardian.Enrollment.CreateTicket, of one who is enrolled", func(ctx context.Context) error {
		_, err := guardian.CreateTicket(ctx, &management.CreateEnrollmentTicket{UserID: "maria"})
		return err
	})
	c.step("Guardian.Enrollment.CreateTicket, by phone", func(ctx context.Context) error {
		_, err := guardian.CreateTicket(ctx, &management.CreateEnrollmentTicket{UserID: "auth0|bob", Factor: "phone"})
		return err
	})
	c.step("User.Enrollments", func(ctx context.Context) error {
		list, err := c.User.Enrollments(ctx, "maria")
		return errors.Join(err, expectThat(len(list) == 1 && list[0].GetID() == phone && list[0].GetStatus() == "confirmed", list))
	})
	c.step("Guardian.Enrollment.Get", func(ctx context.Context) error {
		e, err := guardian.Get(ctx, phone)
		return errors.Join(err, expectThat(e.GetID() == phone && e.GetStatus() == "confirmed", e))
	})
	c.step("Guardian.Enrollment.Delete", func(ctx context.Context) error { return guardian.Delete(ctx, phone) })
	c.step("Guardian.Enrollment.Get, of one that is gone", func(ctx context.Context) error {
		_, err := guardian.Get(ctx, phone)
		return err
	})
}

func (c *goClient) logs() {
	var first string
	c.step("Log.List", func(ctx context.Context) error {
		list, err := c.Log.List(ctx, management.PerPage(5))
		if err == nil && len(list) == 5 {
			first = list[0].GetLogID()
			c.ids = append(c.ids, first)
		}
		return errors.Join(err, expectThat(len(list) == 5, list))
	})
	c.step("Log.Search", func(ctx context.Context) error {
		_, err := c.Log.Search(ctx, management.Query(`type:"sapi"`))
		return err
	})
	c.step("Log.Read", func(ctx context.Context) error {
		one, err := c.Log.Read(ctx, first)
		return errors.Join(err, expectThat(one.GetLogID() == first, one))
	})
}

// otherCallsOfUsers are about what is not here: roles, permissions, organizations, sessions, linked accounts.
func (c *goClient) otherCallsOfUsers() {
	for name, call := range map[string]func(ctx context.Context) error{
		"User.Roles": func(ctx context.Context) error {
			_, err := c.User.Roles(ctx, "maria")
			return err
		},
		"User.Permissions": func(ctx context.Context) error {
			_, err := c.User.Permissions(ctx, "maria")
			return err
		},
		"User.Organizations": func(ctx context.Context) error {
			_, err := c.User.Organizations(ctx, "maria")
			return err
		},
		"User.ListRefreshTokens": func(ctx context.Context) error {
			_, err := c.User.ListRefreshTokens(ctx, "maria")
			return err
		},
		"User.ListUserSessions": func(ctx context.Context) error {
			_, err := c.User.ListUserSessions(ctx, "maria")
			return err
		},
		"User.ListConnectedAccounts": func(ctx context.Context) error {
			_, err := c.User.ListConnectedAccounts(ctx, "maria")
			return err
		},
	} {
		before := len(c.ran)
		c.step(name, call)
		one := c.ran[before]
		c.ran = c.ran[:before]
		at := before
		for at > 0 && c.ran[at-1].name > one.name && strings.HasPrefix(c.ran[at-1].result, "404 `not_found`") {
			at--
		}
		c.ran = append(c.ran[:at], append([]official{one}, c.ran[at:]...)...)
	}
}
