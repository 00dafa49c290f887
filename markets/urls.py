"""Fragments and JSON of the exchange's side; the pages that show them are the desk's."""

from __future__ import annotations

from django.urls import path

from markets import views

app_name = "markets"

urlpatterns = [
    path("x/<str:environment>/search/", views.search, name="search"),
    path("x/<str:environment>/catalogue/progress/", views.catalogue_progress, name="catalogue_progress"),
    path("x/<str:environment>/markets/<str:ticker>/book.json", views.book, name="book"),
    path("x/<str:environment>/markets/<str:ticker>/trades.json", views.trades, name="trades"),
    path("x/<str:environment>/markets/<str:ticker>/lookback.json", views.lookback, name="lookback"),
]
