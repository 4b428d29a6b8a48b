"""An API: open, for users, for staff, with objects, with rates; and Django's own login."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from rest_framework import permissions, routers, serializers, viewsets
from rest_framework.authentication import BasicAuthentication, SessionAuthentication, TokenAuthentication
from rest_framework.authtoken.views import obtain_auth_token
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from secguard.decorators import throttle
from secguard.integrations.drf import (
    IsNotSuspicious,
    LoggedPermissionMixin,
    SecurityPermissionMixin,
    SecurityThrottle,
)
from secguard.mixins import DataAccessMixin


class Plain(APIView):
    """Nothing of the guard in it."""

    authentication_classes = [TokenAuthentication, BasicAuthentication, SessionAuthentication]
    permission_classes: list[Any] = [permissions.IsAuthenticated]
    renderer_classes = [JSONRenderer, BrowsableAPIRenderer]

    def get(self, request: Request) -> Response:
        return Response({"hello": request.user.get_username()})

    def post(self, request: Request) -> Response:
        return Response({"posted": True})


class ForStaff(Plain):
    permission_classes = [permissions.IsAuthenticated & permissions.IsAdminUser]


class SessionOnly(Plain):
    authentication_classes = [SessionAuthentication]


class Watched(SecurityPermissionMixin, Plain):
    permission_classes = [permissions.IsAdminUser]


class IsOwner(LoggedPermissionMixin, BasePermission):
    def has_object_permission(self, request: Request, view: Any, obj: User) -> bool:
        return bool(obj == request.user)


class IsStaff(LoggedPermissionMixin, permissions.IsAdminUser):
    pass


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ["id", "username"]


class Users(SecurityPermissionMixin, viewsets.ModelViewSet):
    queryset = User.objects.order_by("pk")
    serializer_class = UserSerializer
    authentication_classes = [SessionAuthentication, BasicAuthentication]
    permission_classes: list[Any] = [permissions.IsAuthenticated, IsOwner]
    renderer_classes = [JSONRenderer, BrowsableAPIRenderer]


class Members(viewsets.ModelViewSet):
    """The guard only in a permission."""

    queryset = User.objects.order_by("pk")
    serializer_class = UserSerializer
    authentication_classes = [SessionAuthentication, BasicAuthentication]
    permission_classes: list[Any] = [permissions.IsAuthenticated, IsOwner | IsStaff]
    renderer_classes = [JSONRenderer, BrowsableAPIRenderer]


class NotSuspicious(Plain):
    permission_classes = [IsNotSuspicious]


class NotSuspiciousOrStaff(Plain):
    permission_classes = [IsNotSuspicious | permissions.IsAdminUser]


class NotSuspiciousAccount(IsNotSuspicious):
    accounts = True


class NoAccountSuspicious(Plain):
    permission_classes = [permissions.IsAuthenticated, NotSuspiciousAccount]


class ThreeAMinute(SecurityThrottle):
    rate = "3/m"


class Throttled(Plain):
    permission_classes: list[Any] = []
    throttle_classes = [ThreeAMinute]


class FrameworksThrottle(SimpleRateThrottle):
    rate = "2/m"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return "everybody"


class FrameworkThrottled(Plain):
    permission_classes: list[Any] = []
    throttle_classes = [FrameworksThrottle]


class Payroll(DataAccessMixin, Plain):
    data_resource = "payroll"


@throttle("2/m")
def slow_down(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"fine": True})


router = routers.SimpleRouter()
router.register("users", Users, basename="user")
router.register("members", Members, basename="member")

urlpatterns = [
    path("plain/", Plain.as_view(), name="plain"),
    path("staff/", ForStaff.as_view(), name="staff"),
    path("session/", SessionOnly.as_view(), name="session"),
    path("watched/", Watched.as_view(), name="watched"),
    path("suspicious/", NotSuspicious.as_view(), name="suspicious"),
    path("suspicious-or-staff/", NotSuspiciousOrStaff.as_view(), name="suspicious-or-staff"),
    path("suspicious-account/", NoAccountSuspicious.as_view(), name="suspicious-account"),
    path("throttled/", Throttled.as_view(), name="throttled"),
    path("framework-throttled/", FrameworkThrottled.as_view(), name="framework-throttled"),
    path("payroll/", Payroll.as_view(), name="payroll"),
    path("slow-down/", slow_down, name="slow-down"),
    path("token/", obtain_auth_token, name="token"),
    path("login/", LoginView.as_view(), name="login"),
    path("admin/", admin.site.urls),
    path("", include(router.urls)),
]
