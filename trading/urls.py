"""The desk's pages and calls."""

from __future__ import annotations

from django.urls import path

from trading.views import (
    about,
    audit,
    catalogue,
    dashboard,
    invitations,
    keys,
    limits,
    lookback,
    market,
    markets,
    orders,
    people,
    sessions,
    tickets,
    welcome,
)

app_name = "trading"

urlpatterns = [
    path("about/", about.about, name="about"),
    path("welcome/", welcome.first_password, name="first_password"),
    path("welcome/<str:token>", welcome.welcome, name="welcome"),
    path("x/<str:environment>/", dashboard.dashboard, name="dashboard"),
    path("x/<str:environment>/markets/", markets.markets, name="markets"),
    path("x/<str:environment>/markets/<str:ticker>/", market.market, name="market"),
    path("x/<str:environment>/markets/<str:ticker>/position.json", market.position, name="position"),
    path("x/<str:environment>/markets/<str:ticker>/review/", tickets.order_review, name="order_review"),
    path("x/<str:environment>/markets/<str:ticker>/orders/", tickets.order_submit, name="order_submit"),
    path("x/<str:environment>/orders/", orders.orders, name="orders"),
    path("x/<str:environment>/orders.json", orders.orders_json, name="orders_json"),
    path("x/<str:environment>/orders/<uuid:pk>/cancel/", orders.order_cancel, name="order_cancel"),
    path("x/<str:environment>/orders/<uuid:pk>/lookback.json", lookback.order_lookback, name="order_lookback"),
    path("x/<str:environment>/orders/of-key/<uuid:key>/", tickets.order_state, name="order_state"),
    path("x/<str:environment>/keys/", keys.keys, name="keys"),
    path("x/<str:environment>/keys/add/", keys.key_add, name="key_add"),
    path("x/<str:environment>/keys/<uuid:pk>/remove/", keys.key_remove, name="key_remove"),
    path("x/<str:environment>/keys/<uuid:pk>/pause/", keys.key_change, {"verb": "pause"}, name="key_pause"),
    path("x/<str:environment>/keys/<uuid:pk>/resume/", keys.key_change, {"verb": "resume"}, name="key_resume"),
    path("x/<str:environment>/keys/<uuid:pk>/lend/", keys.key_change, {"verb": "lend"}, name="key_lend"),
    path("x/<str:environment>/keys/<uuid:pk>/take-back/", keys.key_change, {"verb": "take-back"}, name="key_take_back"),
    path("x/<str:environment>/catalogue/", catalogue.catalogue, name="catalogue"),
    path("join/<str:token>", invitations.join, name="join"),
    path("x/<str:environment>/team/", people.team, name="team"),
    path("x/<str:environment>/team/settings/", people.team_settings, name="team_settings"),
    path("x/<str:environment>/team/choose/", people.team_choose, name="team_choose"),
    path("x/<str:environment>/team/members/<int:pk>/role/", people.member_role, name="member_role"),
    path("x/<str:environment>/team/members/<int:pk>/leave/", people.member_leave, name="member_leave"),
    path("x/<str:environment>/team/members/<int:pk>/resume/", people.member_resume, name="member_resume"),
    path("x/<str:environment>/team/members/<int:pk>/second-factor/", people.member_factor, name="member_factor"),
    path("x/<str:environment>/team/invitations/", invitations.invitation_make, name="invitation_make"),
    path(
        "x/<str:environment>/team/invitations/<uuid:pk>/withdraw/",
        invitations.invitation_withdraw,
        name="invitation_withdraw",
    ),
    path("x/<str:environment>/limits/", limits.team_limits, name="limits"),
    path("x/<str:environment>/limits/team/", limits.team_limits_change, name="team_limits"),
    path("x/<str:environment>/limits/members/<int:pk>/", limits.own_limits_change, name="own_limits"),
    path("x/<str:environment>/sessions/", sessions.sessions, name="sessions"),
    path("x/<str:environment>/sessions/<uuid:pk>/end/", sessions.session_end, name="session_end"),
    path("x/<str:environment>/audit/", audit.audit, name="audit"),
    path("x/<str:environment>/audit/verify/", audit.audit_verify, name="audit_verify"),
    path("x/<str:environment>/audit/evidence/", audit.audit_evidence, name="audit_evidence"),
]
