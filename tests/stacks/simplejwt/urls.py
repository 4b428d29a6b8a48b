"""simplejwt's own views, and a page for whoever has a token."""

from __future__ import annotations

from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import views


class Page(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        return Response({"hello": request.user.get_username()})


urlpatterns = [
    path("page/", Page.as_view(), name="page"),
    path("token/", views.token_obtain_pair, name="obtain"),
    path("token/sliding/", views.token_obtain_sliding, name="obtain-sliding"),
    path("token/sliding/refresh/", views.token_refresh_sliding, name="refresh-sliding"),
    path("token/refresh/", views.token_refresh, name="refresh"),
    path("token/verify/", views.token_verify, name="verify"),
    path("token/blacklist/", views.token_blacklist, name="blacklist"),
]
