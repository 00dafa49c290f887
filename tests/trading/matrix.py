"""Who gets what answer where, written by hand: the desk's permission matrix as codes.

A row is: route, method, case; then a code for each of the cast, `login` for a redirect to a log-in page. The cast:
owner, admin, trader, viewer and auditor of the team; a stranger who owns another team; nobody (not logged in); a member
who was removed; a member whose account is locked; the site's superuser. The case names whose object is asked for: `own`
of the team, `other` of the stranger's team, `none` of nobody; `high` gives or takes the role of an admin or owner;
`still` changes nothing, though the answer is no refusal. A passkey is one's `own` or a colleague's (`other`), and is
asked for with a proof given just before; without one (`-`) the way leads to the proof. Every route has a row for GET
and one for POST.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CAST = ("owner", "admin", "trader", "viewer", "auditor", "stranger", "nobody", "removed", "locked", "root")

PAGES = """
# route                        method case    owner admin trader viewer auditor stranger nobody removed locked root
start                          GET    -         302   302    302    302     302      302    302     302    302  302
start                          POST   -         302   302    302    302     302      302    302     302    302  302
healthz                        GET    -         200   200    200    200     200      200    200     200    200  200
healthz                        POST   -         405   405    405    405     405      405    405     405    405  405
readyz                         GET    -         503   503    503    503     503      503    503     503    503  503
readyz                         POST   -         405   405    405    405     405      405    405     405    405  405
status                         GET    -         404   404    404    404     404      404    404     404    404  200
status                         POST   -         405   405    405    405     405      405    405     405    405  405
trading:about                  GET    -         200   200    200    200     200      200    200     200    200  200
trading:about                  POST   -         405   405    405    405     405      405    405     405    405  405
trading:first_password         GET    -         302   302    302    302     302      302  login     302  login  302
trading:first_password         POST   -         302   302    302    302     302      302  login     302  login  302
trading:welcome                GET    none      410   410    410    410     410      410    410     410    410  410
trading:welcome                POST   none      410   410    410    410     410      410    410     410    410  410
trading:join                   GET    own       200   200    200    200     200      200    200     200    200  200
trading:join                   GET    none      410   410    410    410     410      410    410     410    410  410
trading:join                   POST   own       410   410    410    410     410      302    302     302    302  302
trading:join                   POST   none      410   410    410    410     410      410    410     410    410  410
trading:dashboard              GET    -         200   200    200    200     200      200  login     403  login  403
trading:dashboard              POST   -         405   405    405    405     405      405    405     405    405  405
trading:dashboard              GET    moon      404   404    404    404     404      404  login     404  login  404
trading:markets                GET    -         200   200    200    200     200      200  login     403  login  403
trading:markets                POST   -         405   405    405    405     405      405    405     405    405  405
trading:market                 GET    -         200   200    200    200     200      200  login     403  login  403
trading:market                 GET    none      404   404    404    404     404      404  login     403  login  403
trading:market                 POST   -         405   405    405    405     405      405    405     405    405  405
trading:catalogue              GET    -         200   200    200    200     200      200  login     403  login  403
trading:catalogue              POST   -         405   405    405    405     405      405    405     405    405  405
markets:search                 GET    -         200   200    200    200     200      200  login     200  login  200
markets:search                 POST   -         405   405    405    405     405      405    405     405    405  405
markets:catalogue_progress     GET    -         200   200    200    200     200      200  login     200  login  200
markets:catalogue_progress     POST   -         405   405    405    405     405      405    405     405    405  405
"""

ORDERS = """
# route                        method case    owner admin trader viewer auditor stranger nobody removed locked root
trading:orders                 GET    -         200   200    200    200     200      200  login     403  login  403
trading:orders                 POST   -         405   405    405    405     405      405    405     405    405  405
trading:orders_json            GET    -         200   200    200    200     200      200    401     403    401  403
trading:orders_json            POST   -         405   405    405    405     405      405    405     405    405  405
trading:position               GET    -         200   200    200    200     200      200    401     403    401  403
trading:position               POST   -         405   405    405    405     405      405    405     405    405  405
trading:order_review           POST   -         200   403    200    403     403      200    401     403    401  403
trading:order_review           GET    -         405   405    405    405     405      405    405     405    405  405
trading:order_submit           POST   -         200   403    200    403     403      200    401     403    401  403
trading:order_submit           GET    -         405   405    405    405     405      405    405     405    405  405
trading:order_submit           POST   other     409   409    409    409     409      200    401     403    401  403
trading:order_state            GET    own       200   200    200    200     200      404    401     403    401  403
trading:order_state            GET    other     404   404    404    404     404      200    401     403    401  403
trading:order_state            GET    none      404   404    404    404     404      404    401     403    401  403
trading:order_state            POST   own       405   405    405    405     405      405    405     405    405  405
trading:order_cancel           POST   own       200   200    200    403     403      404    401     403    401  403
trading:order_cancel           POST   other     404   404    404    404     404      200    401     403    401  403
trading:order_cancel           POST   none      404   404    404    404     404      404    401     403    401  403
trading:order_cancel           GET    own       405   405    405    405     405      405    405     405    405  405
trading:order_lookback         GET    own       200   200    200    200     200      404    401     403    401  403
trading:order_lookback         GET    other     404   404    404    404     404      200    401     403    401  403
trading:order_lookback         GET    none      404   404    404    404     404      404    401     403    401  403
trading:order_lookback         POST   own       405   405    405    405     405      405    405     405    405  405
"""

KEYS = """
# route                        method case    owner admin trader viewer auditor stranger nobody removed locked root
trading:keys                   GET    -         200   200    200    403     200      200  login     403  login  403
trading:keys                   POST   -         405   405    405    405     405      405    405     405    405  405
trading:keys                   GET    other     200   200    200    403     200      200  login     403  login  403
trading:key_add                GET    -         200   200    403    403     403      200  login     403  login  403
trading:key_add                POST   -         422   422    403    403     403      422  login     403  login  403
trading:key_remove             GET    own       200   200    403    403     403      404  login     403  login  403
trading:key_remove             GET    other     404   404    404    404     404      200  login     403  login  403
trading:key_remove             POST   own       302   302    403    403     403      404  login     403  login  403
trading:key_remove             POST   other     404   404    404    404     404      302  login     403  login  403
trading:key_remove             POST   none      404   404    404    404     404      404  login     403  login  403
trading:key_pause              POST   own       302   302    403    403     403      404  login     403  login  403
trading:key_pause              POST   other     404   404    404    404     404      302  login     403  login  403
trading:key_pause              GET    own       405   405    405    405     405      405    405     405    405  405
trading:key_resume             POST   own       302   302    403    403     403      404  login     403  login  403
trading:key_resume             POST   other     404   404    404    404     404      302  login     403  login  403
trading:key_resume             GET    own       405   405    405    405     405      405    405     405    405  405
trading:key_lend               POST   own       302   403    403    403     403      404  login     403  login  403
trading:key_lend               POST   other     404   404    404    404     404      302  login     403  login  403
trading:key_lend               GET    own       405   405    405    405     405      405    405     405    405  405
trading:key_take_back          POST   own       302   403    403    403     403      404  login     403  login  403
trading:key_take_back          POST   other     404   404    404    404     404      302  login     403  login  403
trading:key_take_back          POST   none      404   404    404    404     404      404  login     403  login  403
trading:key_take_back          GET    own       405   405    405    405     405      405    405     405    405  405
"""

PEOPLE = """
# route                        method case    owner admin trader viewer auditor stranger nobody removed locked root
trading:team                   GET    -         200   200    200    200     200      200  login     403  login  403
trading:team                   POST   -         405   405    405    405     405      405    405     405    405  405
trading:team_settings          POST   -         302   403    403    403     403      302  login     403  login  403
trading:team_settings          GET    -         405   405    405    405     405      405    405     405    405  405
trading:team_choose            POST   own       302   302    302    302     302      404  login     403  login  403
trading:team_choose            POST   other     404   404    404    404     404      302  login     403  login  403
trading:team_choose            GET    own       405   405    405    405     405      405    405     405    405  405
trading:member_role            POST   own       302   302    403    403     403      404  login     403  login  403
trading:member_role            POST   high      302   403    403    403     403      404  login     403  login  403
trading:member_role            POST   admin     302   403    403    403     403      404  login     403  login  403
trading:member_role            POST   other     404   404    404    404     404      302  login     403  login  403
trading:member_role            POST   none      404   404    404    404     404      404  login     403  login  403
trading:member_role            GET    own       405   405    405    405     405      405    405     405    405  405
trading:member_leave           GET    own       200   200    403    403     403      404  login     403  login  403
trading:member_leave           GET    admin     200   403    403    403     403      404  login     403  login  403
trading:member_leave           GET    other     404   404    404    404     404      200  login     403  login  403
trading:member_leave           POST   own       302   302    403    403     403      404  login     403  login  403
trading:member_leave           POST   admin     302   403    403    403     403      404  login     403  login  403
trading:member_leave           POST   other     404   404    404    404     404      302  login     403  login  403
trading:member_leave           POST   none      404   404    404    404     404      404  login     403  login  403
trading:member_resume          POST   own       302   302    403    403     403      404  login     403  login  403
trading:member_resume          POST   other     404   404    404    404     404      302  login     403  login  403
trading:member_resume          GET    own       405   405    405    405     405      405    405     405    405  405
trading:member_factor          GET    own       200   200    403    403     403      404  login     403  login  403
trading:member_factor          GET    admin     200   403    403    403     403      404  login     403  login  403
trading:member_factor          GET    other     404   404    404    404     404      200  login     403  login  403
trading:member_factor          POST   own       302   302    403    403     403      404  login     403  login  403
trading:member_factor          POST   admin     302   403    403    403     403      404  login     403  login  403
trading:member_factor          POST   other     404   404    404    404     404      302  login     403  login  403
trading:member_factor          POST   none      404   404    404    404     404      404  login     403  login  403
trading:invitation_make        POST   -         200   200    403    403     403      200  login     403  login  403
trading:invitation_make        POST   high      200   403    403    403     403      200  login     403  login  403
trading:invitation_make        GET    -         405   405    405    405     405      405    405     405    405  405
trading:invitation_withdraw    POST   own       302   302    403    403     403      404  login     403  login  403
trading:invitation_withdraw    POST   high      302   403    403    403     403      404  login     403  login  403
trading:invitation_withdraw    POST   other     404   404    404    404     404      302  login     403  login  403
trading:invitation_withdraw    GET    own       405   405    405    405     405      405    405     405    405  405
trading:limits                 GET    -         200   200    200    200     200      200  login     403  login  403
trading:limits                 POST   -         405   405    405    405     405      405    405     405    405  405
trading:team_limits            POST   -         302   302    403    403     403      302  login     403  login  403
trading:team_limits            GET    -         405   405    405    405     405      405    405     405    405  405
trading:own_limits             POST   own       302   302    403    403     403      404  login     403  login  403
trading:own_limits             POST   self      302   403    302    403     403      302  login     403  login  403
trading:own_limits             POST   raise     302   403    403    403     403      302  login     403  login  403
trading:own_limits             POST   other     404   404    404    404     404      302  login     403  login  403
trading:own_limits             GET    own       405   405    405    405     405      405    405     405    405  405
"""

RECORD = """
# route                        method case    owner admin trader viewer auditor stranger nobody removed locked root
trading:sessions               GET    -         200   200    200    200     200      200  login     403  login  403
trading:sessions               POST   -         405   405    405    405     405      405    405     405    405  405
trading:session_end            POST   self      302   302    302    302     302      302  login     403  login  403
trading:session_end            POST   own       302   302    403    403     403      404  login     403  login  403
trading:session_end            POST   other     404   404    404    404     404      302  login     403  login  403
trading:session_end            POST   none      404   404    404    404     404      404  login     403  login  403
trading:session_end            GET    own       405   405    405    405     405      405    405     405    405  405
trading:audit                  GET    -         200   200    200    403     200      200  login     403  login  403
trading:audit                  POST   -         405   405    405    405     405      405    405     405    405  405
trading:audit_verify           POST   -         302   302    403    403     302      302  login     403  login  403
trading:audit_verify           GET    -         405   405    405    405     405      405    405     405    405  405
trading:audit_evidence         POST   day       200   200    403    403     200      200  login     403  login  403
trading:audit_evidence         POST   own       200   200    403    403     200      404  login     403  login  403
trading:audit_evidence         POST   other     404   404    403    403     404      200  login     403  login  403
trading:audit_evidence         GET    own       405   405    405    405     405      405    405     405    405  405
"""

# Everybody's own account: who is logged in sees their own and nobody else's; what is not offered is closed or empty.
ACCOUNTS = """
# route                                method case owner admin trader viewer auditor stranger nobody removed locked root
account_login                        GET    -      302   302    302    302     302      302    200     302    200  302
account_login                        POST   -      302   302    302    302     302      302    200     302    200  302
account_logout                       GET    -      200   200    200    200     200      200    302     200    302  200
account_logout                       POST   -      302   302    302    302     302      302    302     302    302  302
account_inactive                     GET    -      200   200    200    200     200      200    200     200    200  200
account_inactive                     POST   -      405   405    405    405     405      405    405     405    405  405
account_signup                       GET    -      302   302    302    302     302      302    200     302    200  302
account_signup                       POST   -      302   302    302    302     302      302    200     302    200  302
account_reauthenticate               GET    -      200   200    200    200     200      200  login     200  login  200
account_reauthenticate               POST   -      200   200    200    200     200      200  login     200  login  200
account_email                        GET    -      404   404    404    404     404      404    404     404    404  404
account_email                        POST   -      404   404    404    404     404      404    404     404    404  404
account_email_verification_sent      GET    -      200   200    200    200     200      200    200     200    200  200
account_email_verification_sent      POST   -      405   405    405    405     405      405    405     405    405  405
account_change_password              GET    -      200   200    200    200     200      200  login     200  login  200
account_change_password              POST   -      200   200    200    200     200      200  login     200  login  200
account_set_password                 GET    -      302   302    302    302     302      302  login     302  login  302
account_set_password                 POST   -      302   302    302    302     302      302  login     302  login  302
account_reset_password               GET    -      200   200    200    200     200      200    200     200    200  200
account_reset_password               POST   -      405   405    405    405     405      405    405     405    405  405
account_reset_password_done          GET    -      200   200    200    200     200      200    200     200    200  200
account_reset_password_done          POST   -      405   405    405    405     405      405    405     405    405  405
account_reset_password_from_key_done GET    -      200   200    200    200     200      200    200     200    200  200
account_reset_password_from_key_done POST   -      405   405    405    405     405      405    405     405    405  405
account_reset_password_from_key      GET    -      200   200    200    200     200      200    200     200    200  200
account_reset_password_from_key      POST   -      200   200    200    200     200      200    200     200    200  200
account_confirm_email                GET    -      200   200    200    200     200      200    200     200    200  200
account_confirm_email                POST   -      404   404    404    404     404      404    404     404    404  404
account_confirm_login_code           GET    -      302   302    302    302     302      302  login     302  login  302
account_confirm_login_code           POST   -      302   302    302    302     302      302  login     302  login  302
mfa_index                            GET    -      200   200    200    200     200      200  login     200  login  200
mfa_index                            POST   -      405   405    405    405     405      405  login     405  login  405
mfa_authenticate                     GET    -      302   302    302    302     302      302  login     302  login  302
mfa_authenticate                     POST   -      302   302    302    302     302      302  login     302  login  302
mfa_reauthenticate                   GET    -      302   302    302    302     302      302  login     302  login  302
mfa_reauthenticate                   POST   -      302   302    302    302     302      302  login     302  login  302
mfa_activate_totp                    GET    -      302   302    302    302     302      302  login     302  login  302
mfa_activate_totp                    POST   -      302   302    302    302     302      302  login     302  login  302
mfa_deactivate_totp                  GET    -      404   404    404    404     404      404  login     404  login  404
mfa_deactivate_totp                  POST   -      404   404    404    404     404      404  login     404  login  404
mfa_view_recovery_codes              GET    -      404   404    404    404     404      404  login     404  login  404
mfa_view_recovery_codes              POST   -      405   405    405    405     405      405  login     405  login  405
mfa_generate_recovery_codes          GET    -      302   302    302    302     302      302  login     302  login  302
mfa_generate_recovery_codes          POST   -      302   302    302    302     302      302  login     302  login  302
mfa_download_recovery_codes          GET    -      404   404    404    404     404      404  login     404  login  404
mfa_download_recovery_codes          POST   -      404   404    404    404     404      404  login     404  login  404
mfa_list_webauthn                    GET    -      200   200    200    200     200      200  login     200  login  200
mfa_list_webauthn                    POST   -      405   405    405    405     405      405  login     405  login  405
mfa_add_webauthn                     GET    -      302   302    302    302     302      302  login     302  login  302
mfa_add_webauthn                     POST   -      302   302    302    302     302      302  login     302  login  302
mfa_reauthenticate_webauthn          GET    -      302   302    302    302     302      302  login     302  login  302
mfa_reauthenticate_webauthn          POST   -      302   302    302    302     302      302  login     302  login  302
mfa_remove_webauthn                  GET    -      302   302    302    302     302      302  login     302  login  302
mfa_remove_webauthn                  POST   -      302   302    302    302     302      302  login     302  login  302
mfa_remove_webauthn                  GET    own    200   200    200    200     200      200  login     200  login  200
mfa_remove_webauthn                  GET    other  404   404    404    404     404      404  login     404  login  404
mfa_remove_webauthn                  GET    none   404   404    404    404     404      404  login     404  login  404
mfa_remove_webauthn                  POST   own    302   302    302    302     302      302  login     302  login  302
mfa_remove_webauthn                  POST   other  404   404    404    404     404      404  login     404  login  404
mfa_remove_webauthn                  POST   none   404   404    404    404     404      404  login     404  login  404
mfa_edit_webauthn                    GET    -      302   302    302    302     302      302  login     302  login  302
mfa_edit_webauthn                    POST   -      302   302    302    302     302      302  login     302  login  302
mfa_edit_webauthn                    GET    own    200   200    200    200     200      200  login     200  login  200
mfa_edit_webauthn                    GET    other  404   404    404    404     404      404  login     404  login  404
mfa_edit_webauthn                    GET    none   404   404    404    404     404      404  login     404  login  404
mfa_edit_webauthn                    POST   own    302   302    302    302     302      302  login     302  login  302
mfa_edit_webauthn                    POST   other  404   404    404    404     404      404  login     404  login  404
mfa_edit_webauthn                    POST   none   404   404    404    404     404      404  login     404  login  404
mfa_login_webauthn                   GET    -      302   302    302    302     302      302  login     302  login  302
mfa_login_webauthn                   POST   -      302   302    302    302     302      302  login     302  login  302
"""

# Nobody's membership opens the admin; the superuser looks at what is listed and changes nothing but a person's lock.
ADMIN = """
# route                        method case    owner admin trader viewer auditor stranger nobody removed locked root
admin:index                    GET    -       login login  login  login   login    login  login   login  login  200
admin:index                    POST   still   login login  login  login   login    login  login   login  login  200
admin:login                    GET    -         403   403    403    403     403      403  login     403  login  302
admin:login                    POST   -         403   403    403    403     403      403  login     403  login  302
admin:logout                   POST   -         302   302    302    302     302      302    302     302    302  200
admin:logout                   GET    -         302   302    302    302     302      302    302     302    302  405
admin:password_change          GET    -       login login  login  login   login    login  login   login  login  302
admin:password_change          POST   -       login login  login  login   login    login  login   login  login  302
admin:password_change_done     GET    -       login login  login  login   login    login  login   login  login  302
admin:password_change_done     POST   -       login login  login  login   login    login  login   login  login  302
admin:autocomplete             GET    -       login login  login  login   login    login  login   login  login  403
admin:autocomplete             POST   -       login login  login  login   login    login  login   login  login  405
admin:jsi18n                   GET    -       login login  login  login   login    login  login   login  login  200
admin:jsi18n                   POST   -       login login  login  login   login    login  login   login  login  405
admin:view_on_site             GET    -       login login  login  login   login    login  login   login  login  404
admin:view_on_site             POST   -       login login  login  login   login    login  login   login  login  404
admin:app_list                 GET    -       login login  login  login   login    login  login   login  login  200
admin:app_list                 POST   still   login login  login  login   login    login  login   login  login  200
admin:(?P<url>.*)$             GET    -       login login  login  login   login    login  login   login  login  404
admin:(?P<url>.*)$             POST   -       login login  login  login   login    login  login   login  login  404
"""

ADMIN_OF_EACH_MODEL = """
admin:{model}_changelist       GET    -       login login  login  login   login    login  login   login  login  200
admin:{model}_changelist       POST   still   login login  login  login   login    login  login   login  login  200
admin:{model}_add              GET    -       login login  login  login   login    login  login   login  login  403
admin:{model}_add              POST   -       login login  login  login   login    login  login   login  login  403
admin:{model}_change           GET    -       login login  login  login   login    login  login   login  login  200
admin:{model}_delete           GET    -       login login  login  login   login    login  login   login  login  403
admin:{model}_delete           POST   -       login login  login  login   login    login  login   login  login  403
admin:{model}_history          GET    -       login login  login  login   login    login  login   login  login  200
admin:{model}_history          POST   still   login login  login  login   login    login  login   login  login  200
admin:{model}_redirect         GET    -       login login  login  login   login    login  login   login  login  302
admin:{model}_redirect         POST   still   login login  login  login   login    login  login   login  login  302
"""
ADMIN_CHANGE = """
admin:auth_user_change              POST -    login login  login  login   login    login  login   login  login  302
admin:markets_series_change         POST -    login login  login  login   login    login  login   login  login  403
admin:markets_event_change          POST -    login login  login  login   login    login  login   login  login  403
admin:markets_market_change         POST -    login login  login  login   login    login  login   login  login  403
admin:markets_cataloguerun_change   POST -    login login  login  login   login    login  login   login  login  403
admin:markets_catalogueclaim_change POST -    login login  login  login   login    login  login   login  login  403
admin:trading_team_change           POST -    login login  login  login   login    login  login   login  login  403
admin:trading_membership_change     POST -    login login  login  login   login    login  login   login  login  403
admin:trading_account_change        POST -    login login  login  login   login    login  login   login  login  403
admin:trading_risklimit_change      POST -    login login  login  login   login    login  login   login  login  403
admin:trading_tradingstate_change   POST -    login login  login  login   login    login  login   login  login  403
admin:trading_auditentry_change     POST -    login login  login  login   login    login  login   login  login  403
"""
ADMIN_MODELS = (
    "auth_user",
    "markets_series",
    "markets_event",
    "markets_market",
    "markets_cataloguerun",
    "markets_catalogueclaim",
    "trading_team",
    "trading_membership",
    "trading_account",
    "trading_risklimit",
    "trading_tradingstate",
    "trading_auditentry",
)

# What somebody who owns both teams and acts in the own one gets for what belongs to the other: it is not there, as the
# door has asked for a second factor on account of the own team alone. To cancel any of one's teams will do; to choose
# the other is how one gets to act in it; a ticket says by itself for which team it is; keys name none in their address.
# A passkey is its person's, whatever the team.
ELSEWHERE = """
# route                        method code
trading:order_submit           POST   409
trading:order_state            GET    404
trading:order_cancel           POST   200
trading:order_lookback         GET    404
trading:keys                   GET    200
trading:key_remove             GET    404
trading:key_remove             POST   404
trading:key_pause              POST   404
trading:key_resume             POST   404
trading:key_lend               POST   404
trading:key_take_back          POST   404
trading:team_choose            POST   302
trading:member_role            POST   404
trading:member_leave           GET    404
trading:member_leave           POST   404
trading:member_resume          POST   404
trading:member_factor          GET    404
trading:member_factor          POST   404
trading:invitation_withdraw    POST   404
trading:own_limits             POST   404
trading:session_end            POST   404
trading:audit_evidence         POST   404
mfa_remove_webauthn            GET    404
mfa_remove_webauthn            POST   404
mfa_edit_webauthn              GET    404
mfa_edit_webauthn              POST   404
"""

# What a socket takes, and from whom. Whoever is not logged in is taken and closed at once with 4401, so that the
# page knows that trying again is no use; so is a desk socket of somebody without a team, with 4403.
SOCKETS = """
# socket        action    owner  admin  trader viewer auditor stranger nobody removed locked root
/ws/markets/    connect   open   open   open   open   open    open     4401   open    4401   open
/ws/markets/    watch     beat   beat   beat   beat   beat    beat     4401   beat    4401   beat
/ws/markets/    unwatch   quiet  quiet  quiet  quiet  quiet   quiet    4401   quiet   4401   quiet
/ws/markets/    snapshot  error  error  error  error  error   error    4401   error   4401   error
/ws/markets/    trades    error  error  error  error  error   error    4401   error   4401   error
/ws/markets/    ack       quiet  quiet  quiet  quiet  quiet   quiet    4401   quiet   4401   quiet
/ws/desk/       connect   beat   beat   beat   beat   beat    beat     4401   4403    4401   4403
/ws/desk/       after     own    own    own    own    own     other    4401   4403    4401   4403
/ws/desk/       ack       beat   beat   beat   beat   beat    beat     4401   4403    4401   4403
"""

# Background work takes ids of accounts and environments, never a person; it touches the account that is named.
TASKS = {
    "markets.tasks.sync_catalogue": "environment",
    "markets.tasks.beat_alive": "nothing",
    "trading.tasks.sweep_orders": "nothing",
    "trading.tasks.reconcile_account": "account",
    "trading.tasks.check_unknown": "account",
    "trading.tasks.try_keys": "nothing",
    "trading.tasks.try_account_keys": "account",
    "trading.tasks.sign_record": "nothing",
}

# Answers that need the running loop of a web process; tests/markets/test_views.py asks them.
ASYNC = """
# route                        method case    owner admin trader viewer auditor stranger nobody removed locked root
markets:book                   POST   -         405   405    405    405     405      405    405     405    405  405
markets:trades                 POST   -         405   405    405    405     405      405    405     405    405  405
markets:lookback               POST   -         405   405    405    405     405      405    405     405    405  405
markets:lookback               GET    -         400   400    400    400     400      400  login     400  login  400
markets:lookback               GET    moon      404   404    404    404     404      404  login     404  login  404
markets:book                   GET    moon      404   404    404    404     404      404  login     404  login  404
markets:trades                 GET    moon      404   404    404    404     404      404  login     404  login  404
"""


@dataclass(frozen=True)
class Row:
    """One line of the matrix."""

    route: str
    method: str
    case: str
    codes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.route}-{self.method}-{self.case}"


def elsewhere() -> dict[tuple[str, str], str]:
    """Return what is answered about one's other team, by route and method."""
    rows = [line.split() for line in ELSEWHERE.strip().splitlines() if not line.startswith("#")]
    return {(route, method): code for route, method, code in rows}


def read_rows(table: str) -> Iterator[Row]:
    """Yield the rows of a table; a code is missing or one too many fails."""
    for line in table.strip().splitlines():
        if line.startswith("#"):
            continue
        route, method, case, *codes = line.split()
        assert len(codes) == len(CAST), line
        yield Row(route, method, case, tuple(codes))


def all_rows() -> list[Row]:
    """Return every row of pages and calls."""
    tables = [PAGES, ORDERS, KEYS, PEOPLE, RECORD, ACCOUNTS, ADMIN, ADMIN_CHANGE, ASYNC]
    tables += [ADMIN_OF_EACH_MODEL.format(model=model) for model in ADMIN_MODELS]
    return [row for table in tables for row in read_rows(table)]
