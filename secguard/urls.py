"""The pages of secguard: ``path("security/", include("secguard.urls"))``."""

from django.urls import path

from secguard import views

app_name = "secguard"
urlpatterns = [
    path("unlock/<str:token>/", views.unlock, name="unlock"),
    path("health/", views.health, name="health"),
]
